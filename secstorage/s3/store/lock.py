"""Locks that all daemons in front of one directory see.

flock(2): local file systems have it, and Linux carries it to NFS servers as a byte-range lock. It belongs to
an open file, so that threads of one process exclude each other, too; and it ends with a process that is
killed.
"""

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

_SLOTS = 256


@contextmanager
def held(directory: bytes, name: str) -> Iterator[None]:
    """Alone with `name` while the block runs; other names may have to wait, too."""
    path = b"%s/%02x" % (directory, zlib.crc32(name.encode()) % _SLOTS)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
