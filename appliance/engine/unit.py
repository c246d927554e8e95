"""Observe and change systemd units.

For each unit the engine notes which invocation of it loaded which files (by digest). A crash between
writing a file and reloading its daemon therefore shows, and so does a daemon that restarted by itself.
"""

import hashlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from appliance import disk
from appliance.engine import systemd
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.systemd import Observed
from appliance.resources import Unit

KIND = "Unit"
OURS = "sysvm-*"
FIXED = frozenset({"sysvm-agent.service", "sysvm-boot.service", "sysvm-state.service"})
"""Of those the ones that are there whatever the document says."""
_LOG_SECONDS = 10
_RELOAD_SECONDS = 20


class UnitError(Exception):
    """A unit that didn't start or reload, with the end of its log."""


def plan(
    wanted: Sequence[Unit], host: Host, *, changed: AbstractSet[str] = frozenset(), fresh: bool = False
) -> Iterator[Change]:
    """`changed` are the paths that earlier steps of the same plan will have replaced."""
    observed = _observe() if wanted or (host.state / "units").is_dir() else {}
    for unit in wanted:
        yield from _plan_unit(unit, observed.get(unit.name), host, changed)
    names = {unit.name for unit in wanted}
    for name, state in observed.items():
        if name not in names and state.active not in ("inactive", "failed"):
            yield Change(
                kind=KIND,
                name=name,
                action="stop",
                run=lambda name=name: _stop(name, host),  # type: ignore[misc]
            )


def _plan_unit(
    unit: Unit, observed: Observed | None, host: Host, changed: AbstractSet[str]
) -> Iterator[Change]:
    if observed is None or observed.active not in ("active", "reloading"):
        yield Change(kind=KIND, name=unit.name, action="start", run=lambda: _act("restart", unit, host))
        return
    loaded = host.note(f"units/{unit.name}.json") or {}
    files: Mapping[str, str | None] = loaded.get("files", {})

    def stale(paths: Sequence[str]) -> bool:
        return any(path in changed or files.get(path) != _digest(path, host) for path in paths)

    # Of links as they will be named; one without a card has none to be bound to.
    cards = {name: index for index, name in host.expected_names.items() if name in unit.links}
    bound: Mapping[str, int] = loaded.get("links", {})
    if stale(unit.restart_on) or any(bound.get(name) != index for name, index in cards.items()):
        yield Change(kind=KIND, name=unit.name, action="restart", run=lambda: _act("restart", unit, host))
    elif stale(unit.reload_on) or (unit.reload_on and loaded.get("invocation") != observed.invocation):
        yield Change(kind=KIND, name=unit.name, action="reload", run=lambda: _act("reload", unit, host))


def _observe() -> dict[str, Observed]:
    """The units with our prefix that systemd has loaded, but for the fixed ones."""
    return {
        name: state
        for name, state in systemd.units(OURS).items()
        if name.endswith((".service", ".socket")) and name not in FIXED
    }


def _digest(path: str, host: Host) -> str | None:
    """Of a file's content; kept while the file's inode and times stay the same."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    witness = (status.st_ino, status.st_mtime_ns, status.st_size)
    cache: dict[str, tuple[tuple[int, int, int], str]] = host.seen.setdefault("digest", {})
    if path not in cache or cache[path][0] != witness:
        cache[path] = (witness, hashlib.sha256(Path(path).read_bytes()).hexdigest())
    return cache[path][1]


def _act(verb: systemd.Verb, unit: Unit, host: Host) -> None:
    # Digests and indexes are taken before the daemon reads: if a file changes in between, the note is the
    # old one and the unit is loaded once more, never once too few.
    files = {path: _digest(path, host) for path in (*unit.restart_on, *unit.reload_on)}
    links = {link["name"]: index for index, link in host.links().items() if link["name"] in unit.links}
    if verb == "reload":
        links = (host.note(f"units/{unit.name}.json") or {}).get("links", {})
    try:
        systemd.act(verb, unit.name)
        state = _settled(unit.name)
    except (systemd.SystemdError, OSError) as error:
        raise UnitError(f"Failed to {verb} {unit.name}: {error}\n{_log(unit.name)}") from error
    if state is None or state.active != "active":
        raise UnitError(f"{unit.name} is not active after {verb}\n{_log(unit.name)}")
    loaded = {"invocation": state.invocation, "files": files, "links": links}
    disk.write_json(host.state / "units" / f"{unit.name}.json", loaded)


def _settled(name: str) -> Observed | None:
    """The unit once it isn't on its way any more: daemons may say themselves that they reload."""
    deadline = time.monotonic() + _RELOAD_SECONDS
    while (state := _observe().get(name)) and state.active == "reloading" and time.monotonic() < deadline:
        time.sleep(0.01)
    return state


def _stop(name: str, host: Host) -> None:
    # Some daemons count, and forget it with their end.
    host.read_counters()
    systemd.act("stop", name)
    disk.remove(host.state / "units" / f"{name}.json")


def _log(name: str) -> str:
    return subprocess.run(
        ["journalctl", "--unit", name, "--lines", "8", "--no-pager", "--output", "cat"],
        capture_output=True,
        text=True,
        timeout=_LOG_SECONDS,
        check=False,
    ).stdout.strip()
