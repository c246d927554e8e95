"""Observe and change files. All files below the generated tree are ours: what is not wanted goes."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance import disk, haproxy
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.records import ADDED, BASE
from appliance.resources import File

KIND = "File"


def plan(wanted: Sequence[File], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    paths = {file.path for file in wanted}
    for file in wanted:
        path = Path(file.path)
        if not _as_wanted(path, file):
            yield Change(
                kind=KIND,
                name=file.path,
                action="update" if path.exists() else "create",
                writes=(file.path,),
                run=lambda file=file, path=path: disk.replace(  # type: ignore[misc]
                    path, file.content.encode(), mode=file.mode, group=file.group
                ),
            )
    for path in _generated(host):
        if str(path) not in paths:
            yield Change(
                kind=KIND,
                name=str(path),
                action="delete",
                run=lambda path=path: disk.remove(path),  # type: ignore[misc]
            )


def _as_wanted(path: Path, file: File) -> bool:
    try:
        return path.stat().st_mode & 0o7777 == file.mode and path.read_bytes() == file.content.encode()
    except FileNotFoundError:
        return False


def _generated(host: Host) -> Iterator[Path]:
    for top, names, files in os.walk(host.generated):
        directory = Path(top)
        if directory == host.generated:
            names[:] = [name for name in names if name not in (host.state.name, haproxy.DIRECTORY.name)]
        if ADDED in names:
            # A directory of records: its two parts are the business of that kind.
            names.remove(ADDED)
            files = [name for name in files if name != BASE]
        for name in files:
            yield directory / name
