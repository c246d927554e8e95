"""Control groups: every process we start is in one that carries its name, with all its descendants.

That is how they are found and ended whatever became of their parents. They are made directly, as container
managers without systemd do: a host's systemd leaves foreign groups alone, and hosts without it have no other
way. Where the old hierarchy of systemd is mounted too (cgroup v1 "hybrid"), a container's systemd uses both.
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from appliance.runtime.runtime import MachineError

# Joins the groups, then becomes the command. A process must be in its group before it does anything, or one
# that is orphaned at the wrong moment could not be found.
JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"'


@cache
def hierarchies() -> tuple[Path, ...]:
    """Where groups are made, the unified hierarchy first. Raises MachineError without that."""
    unified: list[Path] = []
    named: list[Path] = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options = line.split(" ")[:4]
        if kind == "cgroup2":
            unified.append(Path(place))
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            named.append(Path(place))
    if not unified:
        raise MachineError("this host has no unified cgroup hierarchy (cgroup v2) mounted")
    return (unified[0], *named[:1])


def create(name: str) -> None:
    for hierarchy in hierarchies():
        (hierarchy / name).mkdir(exist_ok=True)


def joined(name: str, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` in the group."""
    places = [str(hierarchy / name) for hierarchy in hierarchies()]
    return ["sh", "-c", JOIN, "join", *places, "--", *argv]


def names(prefix: str) -> list[str]:
    """The groups whose names begin so, sorted."""
    found = {
        place.name for hierarchy in hierarchies() for place in hierarchy.glob(f"{prefix}*") if place.is_dir()
    }
    return sorted(found)


def processes(name: str) -> list[int]:
    """The processes in a group and below, by their numbers on the host, ascending."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for directory, _, _ in os.walk(hierarchy / name):
            try:
                found.update(map(int, (Path(directory) / "cgroup.procs").read_text().split()))
            except OSError:
                continue  # The group went meanwhile.
    return sorted(found - {0})


def kill(name: str, *, timeout: float = 10.0) -> None:
    """End everything in a group and remove it. Raises MachineError if something can't be ended."""
    deadline = time.monotonic() + timeout
    while True:
        # Both each time: until the group is gone, one that is just starting may still join it.
        _kill_at_once(name, processes(name))
        if all(_removed(hierarchy / name) for hierarchy in hierarchies()):
            return
        if time.monotonic() > deadline:
            raise MachineError(f"{name}: processes {processes(name)} don't end")
        time.sleep(0.005)


def _kill_at_once(name: str, alive: list[int]) -> None:
    # The kernel's own way, where none can escape by forking (Linux 5.14).
    with suppress(OSError):
        (hierarchies()[0] / name / "cgroup.kill").write_text("1")
    for process in alive:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _removed(group: Path) -> bool:
    """Whether a group is gone, after an attempt to remove it with those below."""
    for directory, _, _ in os.walk(group, topdown=False):
        # EBUSY while something is in it, and for a moment after.
        with suppress(OSError):
            Path(directory).rmdir()
    return not group.exists()
