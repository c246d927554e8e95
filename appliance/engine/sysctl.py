"""Observe and change kernel settings below /proc/sys."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Sysctl

KIND = "Sysctl"
_TREE = Path("/proc/sys")


def plan(wanted: Sequence[Sysctl], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    for sysctl in wanted:
        path = _TREE / sysctl.name
        try:
            value = path.read_text().strip()
        except FileNotFoundError:
            continue  # a kernel without this feature, or a link whose card is not there yet
        if value != sysctl.value and os.access(path, os.W_OK):  # else it is the host's, who keeps it
            yield Change(
                kind=KIND,
                name=sysctl.name,
                action="update",
                detail=f"{value} -> {sysctl.value}",
                run=lambda path=path, sysctl=sysctl: _write(path, sysctl),  # type: ignore[misc]
            )


def _write(path: Path, sysctl: Sysctl) -> None:
    path.write_text(f"{sysctl.value}\n")
