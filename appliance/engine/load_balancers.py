"""Observe and change load balancers: a HAProxy's configuration, the servers of the running process, and the
certificates that it shows. Of several HAProxys each is looked after by itself.

The configuration has a digest of its structure as its description, which the running process tells. Servers
are no part of that: they come, go and change in the process itself, and stand in the file for the next one.
The same goes for certificates. Whatever else changes makes the master start a process that takes over.
"""

import base64
import hashlib
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import disk, haproxy
from appliance.engine import backend_servers
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Backend, LoadBalancers

KIND = backend_servers.KIND
_MADE, _CHECKED, _CURRENT = "load balancers", "checked load balancers", "current load balancers"
"""Of what is kept as seen, of each process."""
_CHECK_SECONDS = 30
_TAKE_OVER_SECONDS = 5.0
_PRIVATE = 0o600
_SERVER = "    server "
_OWN_LINES = re.compile(r"^(listen|backend|    bind) \S+", re.MULTILINE)
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
    configs = {config_path(item, host) for item in wanted}
    for path in sorted(_directory(host).glob("*.cfg")):
        if path not in configs:
            yield _removal(path)


def config_path(item: LoadBalancers, host: Host) -> Path:
    """Where HAProxy reads it."""
    return _directory(host) / haproxy.Place(item.process).config.name


def _directory(host: Host) -> Path:
    return host.generated / haproxy.DIRECTORY.name


def _certificates(host: Host) -> Path:
    return _directory(host) / haproxy.CERTIFICATES.name


def _kept(what: str, item: LoadBalancers) -> str:
    return f"{what} {item.process}"


def _plan(item: LoadBalancers, host: Host, *, fresh: bool) -> Iterator[Change]:
    running, servers = _observe(item)
    current = running == digest(item) and has_numbers(item, servers)
    host.seen[_kept(_CURRENT, item)] = item, current
    place, made = haproxy.Place(item.process), _made(item, host)
    yield from _shown(item, host, loaded=running is not None, fresh=fresh)
    if current:
        # The process takes a server before the file has it: what it refuses is never on disk.
        for name, backend in made.items():
            have = servers.get(name, {})
            if have != backend.servers:
                yield from backend_servers.changes(place, name, backend.of.servers, have)
    text, path = _config(item, (backend.section for backend in made.values())), config_path(item, host)
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
        yield Change(kind=KIND, name=place.unit, action="reload", run=lambda: _reload(item))


def _observe(item: LoadBalancers) -> tuple[str | None, Servers]:
    """The description of the running process, and its servers; None where none runs."""
    try:
        with haproxy.Session(haproxy.Place(item.process).admin) as session:
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
    likeness: str
    """A digest that others share from which it differs in what can't be wrong: in its name, address and
    port, and in its servers' names, addresses, ports, numbers and weights. All of these are typed."""


def _made(item: LoadBalancers, host: Host) -> dict[str, _Made]:
    """By name; what was made of the very same one before stays."""
    kept: dict[str, _Made] = host.seen.get(_kept(_MADE, item), {})
    host.seen[_kept(_MADE, item)] = found = {
        name: kept[name] if name in kept and kept[name].of is backend else _make(name, backend)
        for name, backend in item.backends.items()
    }
    return found


def _make(name: str, backend: Backend) -> _Made:
    servers = {
        name: haproxy.Observed(server.number, server.address, server.port, server.weight, server.maintenance)
        for name, server in backend.servers.items()
    }
    return _Made(backend, _section(name, backend), servers, _likeness(backend))


def _likeness(backend: Backend) -> str:
    # A load balancer of no servers at all isn't like one that has some.
    options = sorted({f"{server.options}\0{server.maintenance}" for server in backend.servers.values()})
    text = _OWN_LINES.sub(r"\1 ", backend.text)
    return hashlib.sha256("\0\0".join((text, *options)).encode()).hexdigest()


def _without_servers(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(_SERVER)]


def _section(name: str, backend: Backend) -> str:
    lines = (
        f"{_SERVER}{name} {backend_servers.words(server)}\n" for name, server in backend.servers.items()
    )
    return backend.text + "".join(lines)


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
    """Have HAProxy look at what it would load; what it says against it, if anything. Sections stand each for
    itself, so of those that are alike it sees one, and none that is like one that it has passed before."""
    if _is_current(item, host):
        return ""
    # With `defaults` and certificates that a section relies on.
    common = hashlib.sha256("\0".join((item.text, *item.certificates.values())).encode()).hexdigest()
    kept, passed = host.seen.get(_kept(_CHECKED, item), ("", frozenset()))
    made = _made(item, host)
    known: frozenset[str] = passed if kept == common else frozenset()
    new = {each.likeness: each.section for each in made.values() if each.likeness not in known}
    words = _refusal(item, "\n".join(new.values())) if new or kept != common else ""
    if not words:
        host.seen[_kept(_CHECKED, item)] = common, frozenset(each.likeness for each in made.values())
    return words


def _is_current(item: LoadBalancers, host: Host) -> bool:
    """Whether the running process can be told all that is wanted: as the plan that is checked found it."""
    kept: tuple[LoadBalancers, bool] | None = host.seen.get(_kept(_CURRENT, item))
    if kept is not None and kept[0] is item:
        return kept[1]
    running, servers = _observe(item)
    return running == digest(item) and has_numbers(item, servers)


def _refusal(item: LoadBalancers, sections: str) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-check-") as directory:
        for name, pem in item.certificates.items():
            disk.replace(Path(directory) / name, pem.encode(), mode=_PRIVATE)
        config = haproxy.Place(item.process).config
        candidate = Path(directory) / config.name
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
    return said.replace(str(candidate), str(config)).replace(directory, "") or ran.stderr


# --- the process --------------------------------------------------------------------------------------


def _reload(item: LoadBalancers) -> None:
    """Have another process take over: connections stay with the old one, and what is down stays down."""
    place, wanted = haproxy.Place(item.process), digest(item)
    try:
        _leave_state(item, place)
        haproxy.reload(place, wanted)
    except _GONE:
        # It has just ended; whoever is started in its place reads the same file.
        deadline = time.monotonic() + _TAKE_OVER_SECONDS
        while not haproxy.describes(place, wanted) and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        disk.remove(place.state)


def _leave_state(item: LoadBalancers, place: haproxy.Place) -> None:
    """Tell the next process which servers are down (HAProxy's configuration manual, server-state-file), or
    it would send clients there until it has found out by itself. All else is as the configuration says."""
    # Who isn't asked for life is never down.
    asked = {
        (name, place): server
        for name, backend in item.backends.items()
        for place, server in backend.servers.items()
        if backend_servers.is_checked(server)
    }
    if not asked:
        return
    with haproxy.Session(place.admin) as session:
        version, head, *lines = session.ask("show servers state").splitlines()
    kept = []
    for line in lines:
        field = line.split(" ")
        server = asked.get((field[1], field[3])) if len(field) > 19 else None
        # Of its address and port, and not in maintenance.
        if server and (field[4], field[18], field[6]) == (server.address, str(server.port), "0"):
            field[7] = field[8] = str(server.weight)
            kept.append(" ".join(field))
    disk.replace(place.state, "\n".join((version, head, *kept, "")).encode(), mode=_PRIVATE)


def _shown(item: LoadBalancers, host: Host, *, loaded: bool, fresh: bool) -> Iterator[Change]:
    place = haproxy.Place(item.process)
    for name, pem in item.certificates.items():
        path = _certificates(host) / name
        present = _read(path)
        if present == pem and not (fresh and loaded and _shows_another(place, name, pem)):
            continue
        yield Change(
            kind=KIND,
            name=str(path),
            action="create" if present is None else "update",
            run=lambda path=path, pem=pem: _replace_certificate(place, path, pem),  # type: ignore[misc]
        )


def _shows_another(place: haproxy.Place, name: str, pem: str) -> bool:
    try:
        with haproxy.Session(place.admin) as session:
            shown = session.fingerprint(haproxy.CERTIFICATES / name)
    except _GONE:
        return False
    return shown is not None and shown != fingerprint(pem)


def fingerprint(pem: str) -> str:
    """SHA-1 of the first certificate."""
    body = pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END CERTIFICATE-----")[0]
    return hashlib.sha1(base64.b64decode(body), usedforsecurity=False).hexdigest()


def _replace_certificate(place: haproxy.Place, path: Path, pem: str) -> None:
    """In the running process, if it has one of that name, and then on disk."""
    try:
        with haproxy.Session(place.admin) as session:
            loaded = haproxy.CERTIFICATES / path.name
            if session.fingerprint(loaded) is not None:
                session.replace_certificate(loaded, pem)
    except _GONE:
        pass  # None runs; the next one reads the file.
    disk.replace(path, pem.encode(), mode=_PRIVATE)
