"""What is changed of a running HAProxy's servers by its runtime API."""

from collections.abc import Iterator, Mapping, Sequence

from appliance import haproxy
from appliance.engine.change import Change
from appliance.resources import BackendServer

KIND = "LoadBalancers"
_REMOVAL_SECONDS = 5


def words(server: BackendServer) -> str:
    """As a line of the configuration has it behind its name."""
    return f"{_place(server)} disabled" if server.maintenance else _place(server)


def _place(server: BackendServer) -> str:
    address = f"[{server.address}]" if ":" in server.address else server.address
    return f"{address}:{server.port} id {server.number} weight {server.weight} {server.options}".rstrip()


def is_checked(server: BackendServer) -> bool:
    """Whether HAProxy asks it for life."""
    return server.options.startswith("check ")


def changes(
    place: haproxy.Place,
    backend: str,
    wanted: Mapping[str, BackendServer],
    have: Mapping[str, haproxy.Observed],
) -> Iterator[Change]:
    for name, server in wanted.items():
        there = f"{backend}/{name}"
        if name not in have:
            yield Change(
                kind=KIND,
                name=there,
                action="create",
                detail=f"{server.address}:{server.port}",
                run=lambda there=there, server=server: _add(place, there, server),  # type: ignore[misc]
            )
        elif commands := adjustments(there, server, have[name]):
            yield Change(
                kind=KIND,
                name=there,
                action="update",
                detail="; ".join(commands.values()),
                run=lambda commands=tuple(commands): _order(place, commands),  # type: ignore[misc]
            )
    for name in sorted(have.keys() - wanted.keys()):
        there = f"{backend}/{name}"
        yield Change(
            kind=KIND,
            name=there,
            action="delete",
            run=lambda there=there: _remove(place, there),  # type: ignore[misc]
        )


def adjustments(there: str, server: BackendServer, have: haproxy.Observed) -> dict[str, str]:
    """Commands, and what they are for."""
    found = {}
    if (server.address, server.port) != (have.address, have.port):
        command = f"set server {there} addr {server.address} port {server.port}"
        found[command] = f"to {server.address}:{server.port}"
    if server.weight != have.weight:
        found[f"set server {there} weight {server.weight}"] = f"weight {have.weight} to {server.weight}"
    if server.maintenance != have.maintenance:
        state = "maint" if server.maintenance else "ready"
        found[f"set server {there} state {state}"] = state
    return found


def _order(place: haproxy.Place, commands: Sequence[str]) -> None:
    with haproxy.Session(place.admin) as session:
        for command in commands:
            # What it says is for people; whether it was done shows when the plan is made again.
            session.ask(command)


def _add(place: haproxy.Place, there: str, server: BackendServer) -> None:
    with haproxy.Session(place.admin) as session:
        session.order(f"add server {there} {_place(server)}", expect=("New server registered.",))
        if is_checked(server):
            session.order(f"enable health {there}")
        if not server.maintenance:
            session.order(f"enable server {there}")


def _remove(place: haproxy.Place, there: str) -> None:
    """With the connections it has: whoever wants them to end by themselves drains it first."""
    with haproxy.Session(place.admin) as session:
        session.ask(f"set server {there} state maint")
        session.ask(f"shutdown sessions server {there}")
        session.ask(f"wait {_REMOVAL_SECONDS}s srv-removable {there}")
        session.order(f"del server {there}", expect=("Server deleted.",))
