"""Passwords that wait for their guests: `DIRECTORY/LINK/ADDRESS`, and nothing else anywhere.

Whoever puts a password there renames it into place while it holds an exclusive flock(2) on the
directory `LINK`: so an acknowledgement takes away the password that was acknowledged, and never one that
came at the same moment.

On a router of a redundant pair a digest of each password that was fetched is noted, as `NOTES/LINK_ADDRESS`:
the other router has the same password, and mustn't offer it.
"""

import fcntl
import hashlib
import hmac
import os
import stat
from pathlib import Path

LONGEST = 4096

Signature = tuple[int, int, int]
"""Inode, modification time and size: what tells one password file from the next of the same name."""


class Passwords:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sent: dict[tuple[str, str], Signature] = {}
        self.notes: tuple[Path, bytes] | None = None
        """Where digests of what was fetched are noted, and the key they are made with."""

    def offer(self, link: str, address: str) -> bytes | None:
        """The password that waits for a guest, and remember that this one was sent."""
        try:
            file = os.open(self._directory / link / address, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return None
            password = os.read(file, LONGEST)
        finally:
            os.close(file)
        self._sent[link, address] = _signature(status)
        return password or None

    def sent(self, link: str, address: str) -> Signature | None:
        """What an acknowledgement of this guest is for; each counts once.

        After a restart there is nothing to acknowledge: the password stays, and is sent once more at
        the guest's next boot. That is harmless; to take away one that was never sent is not.
        """
        return self._sent.pop((link, address), None)

    def forget(self, link: str, address: str, sent: Signature) -> bool:
        """Remove a password that has arrived; False if another has taken its place. Blocks for as long
        as the disk takes. Raises OSError if it couldn't be removed."""
        try:
            directory = os.open(self._directory / link, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if _signature(os.stat(address, dir_fd=directory, follow_symlinks=False)) != sent:
                return False
            if self.notes is not None:
                # Before it goes: in a crash between the two it is offered once more here, but not there.
                _note(*self.notes, f"{link}_{address}", (self._directory / link / address).read_bytes())
            os.unlink(address, dir_fd=directory)
            # Without it a power cut brings the password back, to be set at the next boot.
            os.fsync(directory)
        except FileNotFoundError:
            return False
        finally:
            os.close(directory)
        return True


def _note(notes: Path, key: bytes, name: str, password: bytes) -> None:
    temporary = notes / f".{name}"
    with temporary.open("w") as file:
        file.write(hmac.new(key, password, hashlib.sha256).hexdigest())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(notes / name)


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_mtime_ns, status.st_size
