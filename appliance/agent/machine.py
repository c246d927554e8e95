"""How much of the machine is left: processors, memory, storage, room for tracked connections."""

import os
from collections.abc import Iterator
from pathlib import Path

_MEMORY = {"MemTotal": "memory_bytes", "MemAvailable": "memory_available_bytes"}
_TRACKED = Path("/proc/sys/net/netfilter")
_KIB = 1024
Gauge = tuple[str, str, float]
"""Name, text, value."""


def gauges(directory: Path) -> Iterator[Gauge]:
    """Those that this kernel tells; `directory` is where the state is kept. In a container processors and
    memory are its host's, and so is the most of tracked connections."""
    yield "processors", "Processors", os.cpu_count() or 1
    yield "load", "Tasks that run or want to, over the last minute", os.getloadavg()[0]
    for line in _read(Path("/proc/meminfo")).splitlines():
        key, _, value = line.partition(":")
        if key in _MEMORY:
            text = "Memory" if key == "MemTotal" else "Memory that more could be done with"
            yield _MEMORY[key], text, int(value.split()[0]) * _KIB
    room = os.statvfs(directory)
    yield "storage_bytes", "Room for the state", room.f_blocks * room.f_frsize
    yield "storage_available_bytes", "Room for the state that is left", room.f_bavail * room.f_frsize
    for name, text, file in (
        ("tracked_connections", "Connections tracked at the moment", "nf_conntrack_count"),
        ("most_tracked_connections", "Connections that there is room for", "nf_conntrack_max"),
    ):
        if found := _read(_TRACKED / file).strip():
            yield name, text, int(found)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
