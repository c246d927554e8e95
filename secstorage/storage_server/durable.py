"""Changes that a power cut doesn't undo."""

import os
from contextlib import suppress
from pathlib import Path


def sync_directory(path: Path) -> None:
    """What came to a directory or went from it is on the disk."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write(path: Path, content: bytes, *, mode: int = 0o640) -> None:
    """A file is there with all of its content, or as it was before."""
    partial = path.with_name(f".{path.name}.partial")
    with suppress(FileNotFoundError):
        partial.unlink()
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    partial.replace(path)
    sync_directory(path.parent)
