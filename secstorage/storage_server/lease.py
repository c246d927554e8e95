"""Who writes to a store: one appliance at a time, by a lease that is a file on the store.

It needs nothing of the file system but that link(2) and rename(2) are atomic, as they are on NFS, whose
locks differ by version and are lost with the server. Nobody's clock matters: a lease has ended when its file
hasn't changed for TERM as the one who waits counts seconds; and whoever couldn't renew his for UNSURE takes
it for lost before anybody else could.
"""

import json
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from secstorage.storage_server.durable import sync_directory

TERM = 30.0
UNSURE = 20.0


class HeldError(Exception):
    """Another appliance has the store."""


class Lease:
    """`owner` names the appliance and its boot: a daemon that was killed gets its own lease back at once,
    for its service manager starts one at a time."""

    def __init__(self, path: Path, owner: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._owner = owner
        self._now = now
        self._nonce = secrets.token_hex(8)
        self._turn = 0
        self._renewed = 0.0
        self._held = False
        self._seen: tuple[bytes, float] | None = None

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else has the store."""
        return self._held and self._now() - self._renewed < UNSURE

    def acquire(self) -> None:
        """Raises HeldError; asked again and again it gets the lease once the other's has ended."""
        for _ in range(3):
            try:
                content = self._path.read_bytes()
            except FileNotFoundError:
                if self._linked():
                    return
                continue
            if not self._is_own(content) and not self._has_ended(content):
                raise HeldError(f"{_owner(content)} has the store")
            # Of several that find it ended one moves it away; he must have moved what he saw.
            aside = self._path.with_name(f"lease.{self._nonce}.old")
            with suppress(FileNotFoundError):
                self._path.rename(aside)
                if aside.read_bytes() != content:
                    with suppress(FileExistsError):
                        os.link(aside, self._path)
                    aside.unlink()
                    raise HeldError("Another appliance has just got the store")
                aside.unlink()
        raise HeldError("Others want the store, too")

    def renew(self) -> None:
        """Raises HeldError where it is somebody else's now, OSError where the store doesn't answer."""
        begun = self._now()
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        if not self._held or self._nonce not in _fields(content).values():
            self._held = False
            raise HeldError(f"{_owner(content)} has the store")
        partial = self._path.with_name(f"lease.{self._nonce}")
        self._write(partial)
        partial.replace(self._path)
        self._renewed = begun

    def release(self) -> None:
        """Nobody has to wait for it to end."""
        if self.held:
            with suppress(OSError, HeldError):
                self.renew()
                self._path.unlink()
        self._held = False

    def lost(self) -> None:
        """It isn't renewed any more."""
        self._held = False

    def _linked(self) -> bool:
        begun = self._now()
        partial = self._path.with_name(f"lease.{self._nonce}")
        self._write(partial)
        try:
            os.link(partial, self._path)
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        sync_directory(self._path.parent)
        self._held, self._renewed = True, begun
        return True

    def _write(self, path: Path) -> None:
        self._turn += 1
        content = {"owner": self._owner, "nonce": self._nonce, "turn": str(self._turn)}
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            os.write(file, json.dumps(content).encode())
            os.fsync(file)
        finally:
            os.close(file)

    def _is_own(self, content: bytes) -> bool:
        return _owner(content) == self._owner

    def _has_ended(self, content: bytes) -> bool:
        if self._seen is None or self._seen[0] != content:
            self._seen = content, self._now()
        return self._now() - self._seen[1] > TERM


def _fields(content: bytes) -> dict[str, str]:
    try:
        fields = json.loads(content)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _owner(content: bytes) -> str:
    return str(_fields(content).get("owner", "nobody known"))
