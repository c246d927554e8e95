"""What somebody needs who is to find out from afar what is wrong with an appliance: its own view of itself,
its kernel's, and its logs, as one compressed archive (tar(5), gzip) that is made as it is sent.

No secret of the document is in it: what has one to tell isn't asked for it (keys of security associations),
and all texts go through a redaction besides. It is bounded in size and time, whatever the appliance holds.
"""

import io
import json
import logging
import platform
import subprocess
import tarfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from appliance import rendering
from appliance.agent.controller import Controller
from appliance.agent.redaction import Redaction
from appliance.agent.version import versions
from appliance.engine import conntrack
from appliance.resources import Leases

log = logging.getLogger(__name__)
CONTENT_TYPE = "application/gzip"
MOST_BYTES = 4 << 20
"""Of one text in it."""
MOST_IN_ALL = 48 << 20
"""Before compression, which leaves about a tenth."""
_SECONDS = 20.0
_LINES = "20000"
_PIECE = 1 << 16
_NEWLINE = "\n"
_TALKERS = 20
_ONE_AT_A_TIME = threading.BoundedSemaphore(1)
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmpv6"}


class BusyError(Exception):
    """One is being made already."""


class Command(NamedTuple):
    argv: tuple[str, ...]
    last: bool = False
    """Of what is too long the end is kept, else the beginning."""


_JOURNAL = ("journalctl", "--no-pager", "--output=short-iso-precise", "--lines", _LINES)
_COMMANDS: Mapping[str, Command] = {
    "network/links.txt": Command(("ip", "-statistics", "-details", "link")),
    "network/addresses.txt": Command(("ip", "address")),
    "network/routes4.txt": Command(("ip", "-4", "route", "show", "table", "all")),
    "network/routes6.txt": Command(("ip", "-6", "route", "show", "table", "all")),
    "network/rules4.txt": Command(("ip", "-4", "rule")),
    "network/rules6.txt": Command(("ip", "-6", "rule")),
    "network/neighbours.txt": Command(("ip", "neighbour")),
    "network/sockets.txt": Command(("ss", "-tulnp")),
    "network/queues.txt": Command(("tc", "-statistics", "qdisc")),
    # Without what they encrypt with.
    "network/ipsec-states.txt": Command(("ip", "-statistics", "xfrm", "state", "list", "nokeys")),
    "network/ipsec-policies.txt": Command(("ip", "xfrm", "policy")),
    "network/ruleset.nft": Command(("nft", "list", "ruleset")),
    "system/units.txt": Command(("systemctl", "list-units", "--all", "--plain", "--no-pager")),
    "system/processes.txt": Command(("ps", "axo", "pid,ppid,user,rss,pcpu,etime,args")),
    "system/file-systems.txt": Command(("df", "-k")),
    "logs/warnings.log": Command((*_JOURNAL, "--priority=warning"), last=True),
    "logs/kernel.log": Command((*_JOURNAL, "--dmesg"), last=True),
    "logs/journal.log": Command(_JOURNAL, last=True),
}
_FILES = ("meminfo", "loadavg", "uptime", "stat", "net/snmp", "net/netstat", "net/softnet_stat")
"""Below /proc."""


def begun(controller: Controller, views: Mapping[str, str]) -> Iterator[bytes]:
    """The archive, piece by piece. `views` are further texts by their names. Raises BusyError before the
    first piece."""
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise BusyError("Diagnostics are being collected already")
    pieces = _archived(controller, views)
    next(pieces)
    return pieces


def _archived(controller: Controller, views: Mapping[str, str]) -> Iterator[bytes]:
    try:
        # Begun, so that it ends in any case.
        yield b""
        redacted = Redaction(controller.running, controller.boot)
        sink = _Sink()
        left = MOST_IN_ALL
        with tarfile.open(fileobj=sink, mode="w|gz") as archive:
            for name, text in _texts(controller, views):
                content = redacted(text).encode(errors="replace")
                content = content if len(content) <= left else b""
                left -= len(content)
                member = tarfile.TarInfo(f"{controller.boot.name}-diagnostics/{name}")
                member.size, member.mtime, member.mode = len(content), int(time.time()), 0o600
                archive.addfile(member, io.BytesIO(content))
                yield from sink.taken()
        yield from sink.taken()
    finally:
        _ONE_AT_A_TIME.release()


class _Sink(io.RawIOBase):
    """Where the archive is written to, and taken from again."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._pieces.append(bytes(content))
        return len(content)

    def taken(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, []
        yield from pieces


def _texts(controller: Controller, views: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    own: dict[str, Callable[[], str]] = {
        "about.json": lambda: _json(_about(controller)),
        "plan.json": lambda: _json(controller.drift()),
        "connections.json": lambda: _json(connections()),
        "leases.json": lambda: _json(leases(controller)),
        "state.txt": lambda: "\n".join(rendering.pieces(controller.wanted)),
    }
    for name, text in views.items():
        yield name, cut(text)
    for name, tell in own.items():
        try:
            yield name, cut(tell())
        except Exception as error:
            # What is broken is what all this is asked for.
            log.warning("Diagnostics: %s: %r", name, error)
            yield name, f"{error!r}\n"
    for name in _FILES:
        yield f"system/{name.replace('/', '-')}.txt", _read(Path("/proc") / name)
    for name, command in _COMMANDS.items():
        yield name, _said(command)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def cut(text: str, *, last: bool = False) -> str:
    """Whole lines only: of a part of a line nobody can tell whether it is part of a secret, too."""
    if len(text) <= MOST_BYTES:
        return text
    if last:
        return f"... cut: this is the end of it\n{text[-MOST_BYTES:].partition(_NEWLINE)[2]}"
    return f"{text[:MOST_BYTES].rpartition(_NEWLINE)[0]}\n... cut: there is more\n"


def _about(controller: Controller) -> dict[str, Any]:
    return {
        "role": controller.boot.role,
        "name": controller.boot.name,
        "at": time.time(),
        "running_seconds": time.clock_gettime(time.CLOCK_BOOTTIME),
        "versions": versions(),
        "machine": platform.machine(),
    }


def connections() -> dict[str, Any]:
    """How many are tracked, by what they are and by who began them."""
    count: Counter[str] = Counter()
    began: Counter[str] = Counter()
    for each in conntrack.connections():
        protocol = _PROTOCOLS.get(each.protocol, str(each.protocol))
        count[f"{protocol} {each.state}".strip()] += 1
        count["answered" if each.answered else "unanswered"] += 1
        count["on the fast path"] += each.offloaded
        began[each.text(each.original.source)] += 1
    return {
        "total": sum(began.values()),
        "most": _number(Path("/proc/sys/net/netfilter/nf_conntrack_max")),
        "by_kind": dict(sorted(count.items())),
        "began_most": dict(began.most_common(_TALKERS)),
    }


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def leases(controller: Controller) -> dict[str, Any]:
    """How many there are by network, and how many addresses are reserved."""
    found = {}
    for item in controller.wanted:
        if isinstance(item, Leases):
            lines = _read(Path(item.path)).splitlines()
            found[item.link] = {"leases": len(lines), "reserved": len(item.holders)}
    return found


def _read(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return ""


def _said(command: Command) -> str:
    """What a command says, as much as there is room for, in the time that there is."""
    try:
        process = subprocess.Popen(command.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return f"{command.argv[0]}: {error.strerror}\n"
    with process:
        timer = threading.Timer(_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            content = _kept(process.stdout, last=command.last) if process.stdout else b""
        finally:
            timer.cancel()
            process.kill()
    return cut(content.decode(errors="replace"), last=command.last)


def _kept(stream: IO[bytes], *, last: bool) -> bytes:
    """All of it, or somewhat more than there is room for."""
    pieces: deque[bytes] = deque()
    size = 0
    while piece := stream.read(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES + _PIECE:
            if not last:
                break
            size -= len(pieces.popleft())
    return b"".join(pieces)
