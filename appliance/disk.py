"""Files that are whole or not there: temp + fsync + rename."""

import contextlib
import grp
import json
import os
import pwd
import tempfile
from pathlib import Path
from typing import Any


def replace(
    path: Path, content: bytes, *, mode: int = 0o644, owner: str = "root", group: str = "root"
) -> None:
    """Put `content` at `path` so that a reader, or a crash at any point, finds the old or the new file
    and never part of one. Raises OSError (a full disk among others) with the old file untouched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
            if (owner, group) != ("root", "root"):
                os.fchown(descriptor, pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Unlink a file for good; one that is gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, *, mode: int = 0o600) -> None:
    replace(path, json.dumps(value, separators=(",", ":")).encode(), mode=mode)
