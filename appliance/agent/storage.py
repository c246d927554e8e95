"""Where the appliance's state is kept, as the machine found it at boot, and whether there is room."""

import errno
import os
from pathlib import Path

_FOUND = Path("/run/sysvm-machine/state")
_ROOM = 1024 * 1024
"""Bytes; a document of ten thousand items takes more, one of a hundred doesn't."""


def storage(directory: Path) -> str:
    """`disk`; `disk: repaired`, so that some of it may be lost; `memory: WHY`, and it ends with the machine.
    With `, full` behind it where less than 1 MiB is left in `directory`, the state's.

    A container's is `disk`: whoever runs it keeps the directory.
    """
    try:
        found = _FOUND.read_text().strip()
    except FileNotFoundError:
        found = "disk"
    return found if has_room(directory) else f"{found}, full"


def has_room(directory: Path) -> bool:
    # Not f_bfree: of that ext4 keeps some for itself, and from root, too.
    room = os.statvfs(directory)
    return room.f_bavail * room.f_frsize >= _ROOM


def require_room(directory: Path) -> None:
    """Raises OSError (ENOSPC) where less than 1 MiB is left: a document that still fits must not take what
    leases, passwords and counters of the ones before are going to need."""
    if not has_room(directory):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
