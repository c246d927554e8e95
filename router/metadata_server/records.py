"""The records of one network on disk, found by address without keeping them in memory.

`base` is indexed by offset, a line is parsed only when its guest asks. A look at the clock of two
directory entries before every answer makes a record count from the moment its file is in place.
"""

import os
import re
import time
from pathlib import Path
from typing import BinaryIO

from router.metadata_server.record import Record, from_line

# json.dumps of a record starts with its address; a line that doesn't is parsed to find it.
_ADDRESS = re.compile(rb'\{\s*"address"\s*:\s*"([0-9.]{7,15})"')

_CLOCK_TICK = 20_000_000
"""Nanoseconds. A directory that changed this recently may change again without its time changing, as
time stamps before Linux 6.13 have the resolution of the scheduler's tick (10 ms at worst)."""

_KEPT = 4096
_KEPT_BYTES = 16 << 20
"""Parsed records that are kept: their number, and the bytes of their lines."""
_KEPT_LINE = 65536
"""Lines longer than this (a big user-data) are parsed anew each time rather than kept."""

Stamp = tuple[int, int, int] | None


class Guest:
    """A record in use: with the answers that were made from it, which are good for as long as it is."""

    __slots__ = ("answers", "record", "size")

    def __init__(self, record: Record, *, size: int) -> None:
        self.record = record
        self.size = size
        """Bytes of the line that it was made from."""
        self.answers: tuple[dict[bytes, Answer], dict[bytes, Answer]] = {}, {}
        """By the bytes of the request: at the gateway's address, at the link-local one."""


Answer = tuple[float, bytes, str]
"""Until when (monotonic seconds), the bytes to send, and how it counts."""


class Records:
    def __init__(self, directory: Path) -> None:
        self._base_path = str(directory / "base")
        self._added_path = str(directory / "added")
        self._base: BinaryIO | None = None
        self._base_stamp: Stamp = None
        self._base_lines: dict[bytes, int] = {}
        """By address: offset and length of the line, in one number, as there are many."""
        self._added_stamp: Stamp = None
        self._added_settled = True
        self._added: dict[str, tuple[int, bytes, bytes]] = {}
        """By file name: its inode, its address and its line."""
        self._added_lines: dict[bytes, bytes] = {}
        self._guests: dict[str, Guest] = {}
        self._kept_bytes = 0

    def guest(self, address: str) -> Guest | None:
        """The guest with this address by what is on disk now."""
        if (
            not self._added_settled
            or _stamp(self._added_path) != self._added_stamp
            or _stamp(self._base_path) != self._base_stamp
        ):
            self._read()
        guest = self._guests.get(address)
        return guest if guest is not None else self._find(address)

    def forget_answers(self) -> None:
        """For when the answers depend on something that changed."""
        self._guests.clear()
        self._kept_bytes = 0

    def count(self) -> int:
        self.guest("")
        more = sum(address not in self._base_lines for address in self._added_lines)
        return len(self._base_lines) + more

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def _find(self, address: str) -> Guest | None:
        key = address.encode()
        line = self._added_lines.get(key)
        if line is None:
            place = self._base_lines.get(key)
            if place is None or self._base is None:
                return None
            line = os.pread(self._base.fileno(), place & 0xFFFFFFFF, place >> 32)
        try:
            guest = Guest(from_line(line), size=len(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if guest.record.address != address:
            return None
        if guest.size <= _KEPT_LINE:
            self._guests[address] = guest
            self._kept_bytes += guest.size
            while len(self._guests) > _KEPT or self._kept_bytes > _KEPT_BYTES:
                # The one that came first: any will do, at worst it is parsed again.
                self._drop(next(iter(self._guests)))
        return guest

    def _drop(self, address: str) -> None:
        guest = self._guests.pop(address, None)
        if guest is not None:
            self._kept_bytes -= guest.size

    def _read(self) -> None:
        # The writer replaces `base` and then empties `added`: seen in the other order a record would
        # be in neither. So go on until base is the same before and after.
        for _ in range(5):
            if _stamp(self._base_path) != self._base_stamp:
                self._read_base()
                self.forget_answers()
            self._read_added()
            if _stamp(self._base_path) == self._base_stamp:
                break

    def _read_base(self) -> None:
        self.close()
        self._base_lines = {}
        try:
            # It stays open: what was indexed is read from this very file, whatever has its name then.
            self._base = Path(self._base_path).open("rb")  # noqa: SIM115
        except OSError:
            self._base_stamp = None
            return
        status = os.fstat(self._base.fileno())
        self._base_stamp = status.st_ino, status.st_mtime_ns, status.st_size
        start = 0
        for line in self._base:
            address = _address(line)
            if address:
                self._base_lines[address] = start << 32 | len(line)
            start += len(line)

    def _read_added(self) -> None:
        stamp = _stamp(self._added_path)
        self._added_settled = stamp is None or abs(time.time_ns() - stamp[1]) > _CLOCK_TICK
        self._added_stamp = stamp
        known, self._added = self._added, {}
        changed: set[bytes] = set()
        try:
            with os.scandir(self._added_path) as entries:
                # A file is renamed into place while the old one of the name is there: it has another
                # inode (and tmpfs counts on, and doesn't use them again).
                found = {each.name: each.inode() for each in entries if not each.name.startswith(".")}
        except OSError:
            found = {}
        for name, inode in found.items():
            old = known.pop(name, None)
            if old is not None and old[0] == inode:
                self._added[name] = old
                continue
            try:
                line = Path(self._added_path, name).read_bytes()
            except OSError:
                line = b""
            self._added[name] = inode, _address(line), line
            changed |= {self._added[name][1], old[1] if old else b""}
        changed |= {address for _, address, _ in known.values()}
        if changed:
            self._added_lines = {address: line for _, address, line in self._added.values() if address}
        for address in changed:
            self._drop(address.decode())


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice per request, and Path's takes twice the time
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _address(line: bytes) -> bytes:
    matched = _ADDRESS.match(line)
    if matched:
        return matched[1]
    try:
        return from_line(line).address.encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return b""
