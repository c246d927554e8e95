"""Observe and change growing sets of records; `appliance.resources.Records` says how they lie on disk.

Ten thousand lines are read again only when the base's inode or modification time, or those of `added/`,
have changed: all writers rename into place, so both are a faithful witness. The background pass for
drift reads everything regardless.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import disk
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.memo import different
from appliance.resources import Records

KIND = "Records"
BASE = "base"
ADDED = "added"
MOST_ADDED = 64
"""So many records may lie beside the base; with more, one reload is cheaper than so many events."""

Witness = tuple[tuple[int, int, int, int], tuple[int, int]]


@dataclass
class Observed:
    witness: Witness
    base: Mapping[str, None]
    added: dict[str, str]
    """Record -> file name."""
    records: Mapping[str, str] | None = None
    """What was wanted when all of it was found to be there, and nothing else."""


def plan(wanted: Sequence[Records], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    if fresh:
        host.seen.pop(KIND, None)
    cache: dict[str, Observed] = host.seen.setdefault(KIND, {})
    paths = {records.path for records in wanted}
    for records in wanted:
        yield from _plan_one(records, cache)
    for directory in _present(host):
        if str(directory) not in paths:
            cache.pop(str(directory), None)
            yield Change(
                kind=KIND,
                name=str(directory),
                action="delete",
                run=lambda directory=directory: shutil.rmtree(directory, ignore_errors=True),  # type: ignore[misc]
            )


def _plan_one(records: Records, cache: dict[str, Observed]) -> Iterator[Change]:
    observed = _observe(Path(records.path), records, cache)
    if observed is None:
        yield Change(
            kind=KIND,
            name=records.path,
            action="create",
            detail=f"{len(set(records.records.values()))} records",
            writes=(f"{records.path}/{BASE}",),
            run=lambda: _write_base(records, cache),
        )
        return
    come, gone = _difference(records.records, observed)
    if not come and not gone:
        observed.records = records.records
        return
    grow = not gone and len(observed.added) + len(come) <= MOST_ADDED
    yield Change(
        kind=KIND,
        name=records.path,
        action="update",
        detail=f"{len(come)} records come, {gone} go",
        writes=() if grow else (f"{records.path}/{BASE}",),
        run=(lambda: _add(records, come, cache)) if grow else (lambda: _write_base(records, cache)),
    )


def _difference(wanted: Mapping[str, str], observed: Observed) -> tuple[list[str], int]:
    """The lines that come, and how many go."""
    before = observed.records
    if before is not None:
        changed = different(wanted, before)
        if len(wanted) == len(before) + len(changed):
            # All that was wanted before is wanted still; only what is new has to be looked for.
            lines = dict.fromkeys(wanted[key] for key in changed)
            return [line for line in lines if line not in observed.base and line not in observed.added], 0
    lines = dict.fromkeys(wanted.values())
    come = [line for line in lines if line not in observed.base and line not in observed.added]
    return come, len(observed.base) + len(observed.added) - (len(lines) - len(come))


def _observe(path: Path, records: Records, cache: dict[str, Observed]) -> Observed | None:
    try:
        witness = _witness(path)
    except FileNotFoundError:
        return None
    if witness[0][3] & 0o7777 != records.mode:
        return None
    cached = cache.get(records.path)
    if cached and cached.witness == witness:
        return cached
    text = (path / BASE).read_text()
    base = dict.fromkeys(text.removesuffix("\n").split("\n") if text else ())
    added = {}
    for entry in os.scandir(path / ADDED):
        if not entry.name.startswith("."):
            added[Path(entry.path).read_text().rstrip("\n")] = entry.name
    observed = Observed(witness=witness, base=base, added=added)
    cache[records.path] = observed
    return observed


def _witness(path: Path) -> Witness:
    base, added = (path / BASE).stat(), (path / ADDED).stat()
    return (
        (base.st_ino, base.st_mtime_ns, base.st_size, base.st_mode),
        (added.st_ino, added.st_mtime_ns),
    )


def _write_base(records: Records, cache: dict[str, Observed]) -> None:
    cache.pop(records.path, None)
    path = Path(records.path)
    added = path / ADDED
    added.mkdir(parents=True, exist_ok=True)
    for directory in (path, added):
        _give(directory, mode=0o755 if records.mode & 0o004 else 0o750, group=records.group)
    lines = dict.fromkeys(records.records.values())
    content = "".join(f"{line}\n" for line in lines).encode()
    disk.replace(path / BASE, content, mode=records.mode, group=records.group)
    for entry in list(os.scandir(added)):
        with contextlib.suppress(FileNotFoundError):
            Path(entry.path).unlink()
    cache[records.path] = Observed(witness=_witness(path), base=lines, added={}, records=records.records)


def _add(records: Records, come: Sequence[str], cache: dict[str, Observed]) -> None:
    observed = cache.pop(records.path)
    added = dict(observed.added)
    directory = Path(records.path) / ADDED
    for line in come:
        name = hashlib.sha256(line.encode()).hexdigest()[:24]
        disk.replace(directory / name, f"{line}\n".encode(), mode=records.mode, group=records.group)
        added[line] = name
    cache[records.path] = Observed(
        witness=_witness(Path(records.path)), base=observed.base, added=added, records=records.records
    )


def _give(directory: Path, *, mode: int, group: str) -> None:
    directory.chmod(mode)
    if group != "root":
        shutil.chown(directory, group=group)


def _present(host: Host) -> Iterator[Path]:
    for top, names, _ in os.walk(host.generated):
        if ADDED in names:
            names.remove(ADDED)
            yield Path(top)
