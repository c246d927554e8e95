"""What a cloud has on this host, found by its name, and the end of it."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from appliance.runtime import cgroup, namespace
from appliance.runtime.naming import cloud_prefix, disk_directory, run_directory

# Where nspawn keeps directories of a machine for propagated mounts, and (since 257) its sockets.
NSPAWN = (Path("/run/systemd/nspawn/propagate"), Path("/run/systemd/nspawn/unix-export"))


def found(cloud: str) -> list[str]:
    """What there is of a cloud, a line each: nothing, if it is down."""
    prefix = cloud_prefix(cloud)
    things = [f"group {name}" for name in cgroup.names(prefix)]
    things += [f"namespace {name}" for name in namespace.names(prefix)]
    things += [f"directory {path}" for place in NSPAWN for path in sorted(place.glob(f"{prefix}*"))]
    own = (run_directory(cloud), disk_directory(cloud))
    things += [f"directory {directory}" for directory in own if directory.exists()]
    return things


def clear(cloud: str) -> None:
    """Remove all of a cloud. Raises MachineError if a process of it can't be ended."""
    prefix = cloud_prefix(cloud)
    for group in cgroup.names(prefix):
        cgroup.kill(group)
    for name in namespace.names(prefix):
        # Somebody's own command, run inside: without this its namespace would live on without a name.
        for process in set(namespace.inhabitants(name)) - {os.getpid()}:
            with suppress(ProcessLookupError):
                os.kill(process, 9)
        namespace.delete(name)
    for place in NSPAWN:
        for path in place.glob(f"{prefix}*"):
            forget_machine(path.name)
    for directory in (run_directory(cloud), disk_directory(cloud)):
        if directory.exists():
            shutil.rmtree(directory)


def forget_machine(full: str) -> None:
    """Remove what nspawn leaves on the host when it is killed."""
    for place in NSPAWN:
        directory = place / full
        if directory.is_dir():
            if os.path.ismount(directory):
                subprocess.run(["umount", "--lazy", directory], check=True)
            shutil.rmtree(directory)
