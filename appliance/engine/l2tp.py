"""Observe users' sessions by L2TP, and end those of users who are gone.

Each session is a pppd with a link of its own. As it begins, a script of ours notes what pppd tells it, the
user's name above all, in a file that is named after the link; whether the session is still there the kernel
says.
"""

import ipaddress
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from appliance.engine import tunnel_link
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import L2tpServer, Unit

KIND = "L2tpSession"
RUNTIME = Path("/run/sysvm-l2tp")
SESSIONS = RUNTIME / "sessions"
"""LINK: lines of KEY=VALUE; removed when the session has ended in good order."""
_LINKS = Path("/sys/class/net")
_DEVICE = "/dev/ppp"
_AF_PPPOX, _PX_PROTO_OL2TP = 24, 1
_TERM_SECONDS = 2.0
_UP = 1


class L2tpError(Exception):
    """A session that doesn't end."""


@dataclass(frozen=True, slots=True)
class Session:
    link: str
    pid: int
    user: str
    address: str
    """The user's own."""
    remote: str
    """Where he comes from: a NAT's address, maybe."""
    since: float
    """Of CLOCK_BOOTTIME."""


def plan(wanted: Sequence[L2tpServer], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    # Without a server the unit is stopped, with all sessions.
    for server in wanted:
        pool = ipaddress.ip_network(server.pool)
        for session in sessions():
            if session.user not in server.users or ipaddress.ip_address(session.address) not in pool:
                yield Change(
                    kind=KIND,
                    name=f"{session.user} {session.link}",
                    action="delete",
                    run=lambda session=session: end(session),  # type: ignore[misc]
                )


def units(wanted: Sequence[L2tpServer]) -> Iterator[Unit]:
    """What is to run for it on this kernel."""
    for server in wanted:
        if available():
            yield server.unit


@cache
def available() -> bool:
    """Whether the kernel has PPP over L2TP, and IPsec around it. Found out by opening what takes it,
    which loads the modules, too."""
    try:
        with socket.socket(_AF_PPPOX, socket.SOCK_DGRAM, _PX_PROTO_OL2TP):
            os.close(os.open(_DEVICE, os.O_RDWR))
    except OSError:
        return False
    return tunnel_link.available()


def sessions() -> list[Session]:
    """Those that are there now."""
    try:
        found = [_read(path) for path in sorted(SESSIONS.iterdir()) if not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    return [session for session in found if session is not None and _lives(session)]


def _read(path: Path) -> Session | None:
    try:
        fields = dict(line.split("=", 1) for line in path.read_text().splitlines())
        return Session(
            link=path.name,
            pid=int(fields["pid"]),
            user=fields["user"],
            address=fields["address"],
            remote=fields["remote"],
            since=float(fields["since"]),
        )
    except (FileNotFoundError, ValueError, KeyError):
        # It has ended meanwhile.
        return None


def _lives(session: Session) -> bool:
    """Whether it is the same pppd still, and has its link."""
    try:
        name, _, state = Path(f"/proc/{session.pid}/stat").read_text().partition("(")[2].rpartition(") ")
        up = int((_LINKS / session.link / "flags").read_text(), 16) & _UP
    except (OSError, ValueError):
        return False
    return name == "pppd" and not state.startswith("Z") and up != 0


def end(session: Session) -> None:
    """With a word to the other side; by force where that takes long. Either way its link goes at once."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(session.pid, number)
        deadline = time.monotonic() + _TERM_SECONDS
        while _lives(session) and time.monotonic() < deadline:
            time.sleep(0.01)
        if not _lives(session):
            return
    raise L2tpError(f"{session.link} of {session.user} is still there")
