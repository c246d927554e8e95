"""Which servers of load balancers are well. The primary finds it out; the backup's own checks would go out
from addresses that it doesn't have, so it makes none and takes the primary's word for it. HAProxy's
management guide, section 9.3."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from appliance import haproxy

_STOPPED = 0
_MAINTENANCE = 1
_CONFIGURED, _ENABLED = 2, 4
_FIELDS = 14


class Server(NamedTuple):
    """One with a health check."""

    name: str
    """LOAD-BALANCER/SERVER."""
    down: bool
    checked: bool
    """Whether the check is made."""


def parsed(text: str) -> Iterator[Server]:
    """From `show servers state`, but for those without a check and those in maintenance."""
    for line in text.splitlines():
        field = line.split(" ")
        if len(field) < _FIELDS or not field[13].isdigit():
            continue
        admin, check = int(field[6]), int(field[13])
        if check & _CONFIGURED and not admin & _MAINTENANCE:
            yield Server(f"{field[1]}/{field[3]}", int(field[5]) == _STOPPED, bool(check & _ENABLED))


def down() -> list[str]:
    """What the running processes have found; nothing where none runs."""
    found = []
    for place in haproxy.running():
        with haproxy.Session(place.admin) as session:
            found += [server.name for server in parsed(session.ask("show servers state")) if server.down]
    return found


def adopt(theirs: Sequence[str]) -> None:
    """Make no checks, and take these servers for down and all others for well."""
    known = frozenset(theirs)
    for place in haproxy.running():
        with haproxy.Session(place.admin) as session:
            for server in parsed(session.ask("show servers state")):
                if server.checked:
                    session.ask(f"disable health {server.name}")
                if server.down != (server.name in known):
                    session.ask(f"set server {server.name} health {'up' if server.down else 'down'}")


def check_again() -> None:
    """Make all checks, beginning with what was taken for true until now."""
    for place in haproxy.running():
        with haproxy.Session(place.admin) as session:
            for server in parsed(session.ask("show servers state")):
                if not server.checked:
                    session.ask(f"enable health {server.name}")
