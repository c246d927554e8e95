"""Observe and change load balancers: HAProxy's configuration, the servers of the running process, and the
certificates that it shows.

The configuration has a digest of its structure as its description, which the running process tells. Servers
are no part of that: they come, go and change in the process itself, and stand in the file for the next one.
The same goes for certificates. Whatever else changes makes the master start a process that takes over.
"""

import base64
import hashlib
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import disk, haproxy
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Backend, BackendServer, LoadBalancers

KIND = "LoadBalancers"
_MADE, _CHECKED, _CURRENT = "load balancers", "checked load balancers", "current load balancers"
"""Of what is kept as seen."""
_CHECK_SECONDS = 30
_TAKE_OVER_SECONDS = 5.0
_REMOVAL_SECONDS = 5
_PRIVATE = 0o600
_SERVER = "    server "
_GONE = (FileNotFoundError, ConnectionError)
"""What a socket says on which nobody listens."""
Servers = dict[str, dict[str, haproxy.Observed]]


def plan(wanted: Sequence[LoadBalancers], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    for item in wanted:
        yield from _plan(item, host, fresh=fresh)
    names = {name for item in wanted for name in item.certificates}
    for path in sorted(_certificates(host).glob("*")):
        if path.name not in names:
            yield _removal(path)
    if not wanted and config_path(host).exists():
        yield _removal(config_path(host))


def config_path(host: Host) -> Path:
    """Where HAProxy reads it."""
    return host.generated / haproxy.DIRECTORY.name / haproxy.CONFIG.name


def _certificates(host: Host) -> Path:
    return host.generated / haproxy.DIRECTORY.name / haproxy.CERTIFICATES.name


def _plan(item: LoadBalancers, host: Host, *, fresh: bool) -> Iterator[Change]:
    running, servers = _observe(item)
    current = running == digest(item) and has_numbers(item, servers)
    host.seen[_CURRENT] = item, current
    made = _made(item, host)
    yield from _shown(item, host, loaded=running is not None, fresh=fresh)
    if current:
        # The process takes a server before the file has it: what it refuses is never on disk.
        for name, backend in made.items():
            have = servers.get(name, {})
            if have != backend.servers:
                yield from _servers(name, backend.of.servers, have)
    text, path = _config(item, (backend.section for backend in made.values())), config_path(host)
    present = _read(path)
    # Who has changed more of the file than we ever do while a process runs may have had it loaded.
    current = current and (present is None or _without_servers(present) == _without_servers(text))
    if present != text:
        yield Change(
            kind=KIND,
            name=str(path),
            action="create" if present is None else "update",
            run=lambda: disk.replace(path, text.encode(), mode=_PRIVATE),
        )
    if running is not None and not current:
        yield Change(kind=KIND, name="haproxy", action="reload", run=lambda: _reload(item))


def _observe(item: LoadBalancers) -> tuple[str | None, Servers]:
    """The description of the running process, and its servers; None where none runs."""
    try:
        with haproxy.Session() as session:
            description = session.description()
            # Of another configuration's servers nothing is wanted.
            return description, session.servers() if description == digest(item) else {}
    except _GONE:
        return None, {}


def has_numbers(item: LoadBalancers, servers: Servers) -> bool:
    """Whether what the process has is, as far as it is wanted at all, of the wanted options."""
    return all(
        have[name].number == wanted.number
        for backend, have in servers.items()
        if backend in item.backends
        for name, wanted in item.backends[backend].servers.items()
        if name in have
    )


# --- the file -----------------------------------------------------------------------------------------


def config(item: LoadBalancers) -> str:
    """The whole file."""
    return _config(item, (_section(name, backend) for name, backend in item.backends.items()))


def _config(item: LoadBalancers, sections: Iterable[str]) -> str:
    return f"{item.text}\nglobal\n    description {digest(item)}\n\n" + "\n".join(sections)


@dataclass(frozen=True, slots=True)
class _Made:
    """What a load balancer is in the file, and in a process that has loaded it."""

    of: Backend
    section: str
    servers: dict[str, haproxy.Observed]


def _made(item: LoadBalancers, host: Host) -> dict[str, _Made]:
    """By name; what was made of the very same one before stays."""
    kept: dict[str, _Made] = host.seen.get(_MADE, {})
    host.seen[_MADE] = found = {
        name: kept[name] if name in kept and kept[name].of is backend else _make(name, backend)
        for name, backend in item.backends.items()
    }
    return found


def _make(name: str, backend: Backend) -> _Made:
    servers = {
        name: haproxy.Observed(server.number, server.address, server.port, server.weight, server.maintenance)
        for name, server in backend.servers.items()
    }
    return _Made(backend, _section(name, backend), servers)


def _without_servers(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(_SERVER)]


def _section(name: str, backend: Backend) -> str:
    lines = (f"{_SERVER}{name} {_words(server)}\n" for name, server in backend.servers.items())
    return backend.text + "".join(lines)


def _words(server: BackendServer) -> str:
    return f"{_place(server)} disabled" if server.maintenance else _place(server)


def _place(server: BackendServer) -> str:
    address = f"[{server.address}]" if ":" in server.address else server.address
    return f"{address}:{server.port} id {server.number} weight {server.weight} {server.options}".rstrip()


def is_checked(server: BackendServer) -> bool:
    """Whether HAProxy asks it for life."""
    return server.options.startswith("check ")


def digest(item: LoadBalancers) -> str:
    """Of all that no running process can be told."""
    structure = "\0".join((item.text, *(backend.text for backend in item.backends.values())))
    return hashlib.sha256(structure.encode()).hexdigest()


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _removal(path: Path) -> Change:
    return Change(kind=KIND, name=str(path), action="delete", run=lambda: disk.remove(path))


def check(item: LoadBalancers, host: Host) -> str:
    """Have HAProxy look at what it would load; what it says against it, if anything. Sections that it has
    passed before aren't asked about again: they stand each for itself."""
    if _is_current(item, host):
        return ""
    passed: dict[str, str] = host.seen.get(_CHECKED, {})
    sections = {name: made.section for name, made in _made(item, host).items()}
    # With `defaults` and certificates that a section relies on.
    common = hashlib.sha256("\0".join((item.text, *item.certificates.values())).encode()).hexdigest()
    new = {name: text for name, text in sections.items() if passed.get(name) != common + text}
    words = _refusal(item, "\n".join(new.values()))
    if not words:
        host.seen[_CHECKED] = {name: common + text for name, text in sections.items()}
    return words


def _is_current(item: LoadBalancers, host: Host) -> bool:
    """Whether the running process can be told all that is wanted: as the plan that is checked found it."""
    kept: tuple[LoadBalancers, bool] | None = host.seen.get(_CURRENT)
    if kept is not None and kept[0] is item:
        return kept[1]
    running, servers = _observe(item)
    return running == digest(item) and has_numbers(item, servers)


def _refusal(item: LoadBalancers, sections: str) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-check-") as directory:
        for name, pem in item.certificates.items():
            disk.replace(Path(directory) / name, pem.encode(), mode=_PRIVATE)
        candidate = Path(directory) / haproxy.CONFIG.name
        candidate.write_text(f"{item.text.replace(str(haproxy.CERTIFICATES), directory)}\n{sections}")
        ran = subprocess.run(
            ["haproxy", "-c", "-f", candidate],
            capture_output=True,
            text=True,
            timeout=_CHECK_SECONDS,
            check=False,
        )
    if not ran.returncode:
        return ""
    alerts = [line for line in ran.stderr.splitlines() if line.startswith("[ALERT]")]
    said = "; ".join(line.partition(" : config : ")[2] or line for line in alerts)
    return said.replace(str(candidate), str(haproxy.CONFIG)).replace(directory, "") or ran.stderr


# --- the process --------------------------------------------------------------------------------------


def _reload(item: LoadBalancers) -> None:
    """Have another process take over: connections stay with the old one, and what is down stays down."""
    try:
        _leave_state(item)
        haproxy.reload()
    except _GONE:
        pass  # It has just ended; whoever is started in its place reads the same file.
    finally:
        disk.remove(haproxy.STATE)
    deadline = time.monotonic() + _TAKE_OVER_SECONDS
    while _description() != digest(item):
        if time.monotonic() > deadline:
            raise haproxy.HaproxyError("The process that runs has another configuration than it was told")
        time.sleep(0.005)


def _description() -> str | None:
    """Of the process that takes connections now: while another takes over, the old one still may."""
    try:
        with haproxy.Session() as session:
            return session.description()
    except _GONE:
        return None


def _leave_state(item: LoadBalancers) -> None:
    """Tell the next process which servers are down (HAProxy's configuration manual, server-state-file), or
    it would send clients there until it has found out by itself. All else is as the configuration says."""
    # Who isn't asked for life is never down.
    asked = {
        (name, place): server
        for name, backend in item.backends.items()
        for place, server in backend.servers.items()
        if is_checked(server)
    }
    if not asked:
        return
    with haproxy.Session() as session:
        version, head, *lines = session.ask("show servers state").splitlines()
    kept = []
    for line in lines:
        field = line.split(" ")
        server = asked.get((field[1], field[3])) if len(field) > 19 else None
        # Of its address and port, and not in maintenance.
        if server and (field[4], field[18], field[6]) == (server.address, str(server.port), "0"):
            field[7] = field[8] = str(server.weight)
            kept.append(" ".join(field))
    disk.replace(haproxy.STATE, "\n".join((version, head, *kept, "")).encode(), mode=_PRIVATE)


def _shown(item: LoadBalancers, host: Host, *, loaded: bool, fresh: bool) -> Iterator[Change]:
    for name, pem in item.certificates.items():
        path = _certificates(host) / name
        present = _read(path)
        if present == pem and not (fresh and loaded and _shows_another(name, pem)):
            continue
        yield Change(
            kind=KIND,
            name=str(path),
            action="create" if present is None else "update",
            run=lambda path=path, pem=pem: _replace_certificate(path, pem),  # type: ignore[misc]
        )


def _shows_another(name: str, pem: str) -> bool:
    try:
        with haproxy.Session() as session:
            shown = session.fingerprint(haproxy.CERTIFICATES / name)
    except _GONE:
        return False
    return shown is not None and shown != fingerprint(pem)


def fingerprint(pem: str) -> str:
    """SHA-1 of the first certificate."""
    body = pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END CERTIFICATE-----")[0]
    return hashlib.sha1(base64.b64decode(body), usedforsecurity=False).hexdigest()


def _replace_certificate(path: Path, pem: str) -> None:
    """In the running process, if it has one of that name, and then on disk."""
    try:
        with haproxy.Session() as session:
            loaded = haproxy.CERTIFICATES / path.name
            if session.fingerprint(loaded) is not None:
                session.replace_certificate(loaded, pem)
    except _GONE:
        pass  # None runs; the next one reads the file.
    disk.replace(path, pem.encode(), mode=_PRIVATE)


def _servers(
    backend: str, wanted: Mapping[str, BackendServer], have: Mapping[str, haproxy.Observed]
) -> Iterator[Change]:
    for name, server in wanted.items():
        there = f"{backend}/{name}"
        if name not in have:
            yield Change(
                kind=KIND,
                name=there,
                action="create",
                detail=f"{server.address}:{server.port}",
                run=lambda there=there, server=server: _add(there, server),  # type: ignore[misc]
            )
        elif commands := _adjustments(there, server, have[name]):
            yield Change(
                kind=KIND,
                name=there,
                action="update",
                detail="; ".join(commands.values()),
                run=lambda commands=tuple(commands): _order(commands),  # type: ignore[misc]
            )
    for name in sorted(have.keys() - wanted.keys()):
        there = f"{backend}/{name}"
        yield Change(
            kind=KIND,
            name=there,
            action="delete",
            run=lambda there=there: _remove(there),  # type: ignore[misc]
        )


def _adjustments(there: str, server: BackendServer, have: haproxy.Observed) -> dict[str, str]:
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


def _order(commands: Sequence[str]) -> None:
    with haproxy.Session() as session:
        for command in commands:
            # What it says is for people; whether it was done shows when the plan is made again.
            session.ask(command)


def _add(there: str, server: BackendServer) -> None:
    with haproxy.Session() as session:
        session.order(f"add server {there} {_place(server)}", expect=("New server registered.",))
        if is_checked(server):
            session.order(f"enable health {there}")
        if not server.maintenance:
            session.order(f"enable server {there}")


def _remove(there: str) -> None:
    """With the connections it has: whoever wants them to end by themselves drains it first."""
    with haproxy.Session() as session:
        session.ask(f"set server {there} state maint")
        session.ask(f"shutdown sessions server {there}")
        session.ask(f"wait {_REMOVAL_SECONDS}s srv-removable {there}")
        session.order(f"del server {there}", expect=("Server deleted.",))
