"""The state directory: keys, the token and, unless told otherwise, the database."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance import disk

DEFAULT = Path("/var/lib/sysvm-management")
TOKEN = "token"  # noqa: S105, the name of the file


class InUseError(Exception):
    """Another management plane works with this state directory."""


def prepare(directory: Path) -> Path:
    """Make the directory, readable by its owner alone. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory


@contextmanager
def locked(directory: Path, name: str, *, wait: bool) -> Iterator[None]:
    """Hold one of the directory's locks; the kernel frees it when the process dies, however it dies.

    Raises InUseError where the lock is taken and `wait` is false.
    """
    descriptor = os.open(directory / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise InUseError(f"{directory} is in use by another management plane.") from None
        yield
    finally:
        os.close(descriptor)


def token(directory: Path) -> str:
    """The bearer token (RFC 6750) of the API, made on first use."""
    path = directory / TOKEN
    with locked(directory, TOKEN, wait=True):
        if not path.exists():
            disk.replace(path, secrets.token_urlsafe(32).encode() + b"\n", mode=0o600)
        return path.read_text().strip()
