"""The records of one network on disk, found by address without keeping them in memory.

`base` is indexed by offset, a line is parsed only when its guest asks. A look at the clock of two
directory entries before every answer makes a record count from the moment its file is in place.
"""

import mmap
import os
import re
import time
from pathlib import Path

from router.metadata_server.record import Record, from_line

# json.dumps of a record starts with its address; a line that doesn't is parsed to find it.
_ADDRESS = re.compile(rb'\{\s*"address"\s*:\s*"([0-9.]{7,15})"')

_CLOCK_TICK = 20_000_000
"""Nanoseconds. A directory that changed this recently may change again without its time changing, as
time stamps before Linux 6.13 have the resolution of the scheduler's tick (10 ms at worst)."""

_KEPT = 512
"""Parsed records that are kept."""
_KEPT_BYTES = 65536
"""Lines longer than this (a big user-data) are parsed anew each time rather than kept."""

Stamp = tuple[int, int, int] | None


class Guest:
    """A record in use: with the answers that were made from it, which are good for as long as it is."""

    __slots__ = ("answers", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.answers: tuple[dict[bytes, Answer], dict[bytes, Answer]] = {}, {}
        """By the bytes of the request: at the gateway's address, at the link-local one."""


Answer = tuple[float, bytes, str]
"""Until when (monotonic seconds), the bytes to send, and how it counts."""


class Records:
    def __init__(self, directory: Path) -> None:
        self._base_path = str(directory / "base")
        self._added_path = str(directory / "added")
        self._base: mmap.mmap | None = None
        self._base_stamp: Stamp = None
        self._base_lines: dict[bytes, int] = {}
        """By address: offset and length of the line, in one number, as there are many."""
        self._added_stamp: Stamp = None
        self._added_settled = True
        self._added: dict[str, tuple[Stamp, bytes, bytes]] = {}
        """By file name: its stamp, its address and its line."""
        self._added_lines: dict[bytes, bytes] = {}
        self._guests: dict[str, Guest] = {}

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

    def count(self) -> int:
        self.guest("")
        return len(self._base_lines.keys() | self._added_lines.keys())

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
            line = self._base[place >> 32 : (place >> 32) + (place & 0xFFFFFFFF)]
        try:
            guest = Guest(from_line(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if guest.record.address != address:
            return None
        if len(line) <= _KEPT_BYTES:
            if len(self._guests) >= _KEPT:
                # The one that came first: any will do, at worst it is parsed again.
                del self._guests[next(iter(self._guests))]
            self._guests[address] = guest
        return guest

    def _read(self) -> None:
        # The writer replaces `base` and then empties `added`: seen in the other order a record would
        # be in neither. So go on until base is the same before and after.
        changed = False
        for _ in range(5):
            if _stamp(self._base_path) != self._base_stamp:
                self._read_base()
                changed = True
            changed |= self._read_added()
            if _stamp(self._base_path) == self._base_stamp:
                break
        if changed:
            self._guests.clear()

    def _read_base(self) -> None:
        self.close()
        self._base_lines = {}
        try:
            with Path(self._base_path).open("rb") as file:
                status = os.fstat(file.fileno())
                self._base_stamp = status.st_ino, status.st_mtime_ns, status.st_size
                if status.st_size:
                    self._base = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except OSError:
            self._base_stamp = None
        if self._base is not None:
            self._base_lines = _index(self._base)

    def _read_added(self) -> bool:
        stamp = _stamp(self._added_path)
        self._added_settled = stamp is None or abs(time.time_ns() - stamp[1]) > _CLOCK_TICK
        self._added_stamp = stamp
        known, self._added = self._added, {}
        try:
            with os.scandir(self._added_path) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
        except OSError:
            names = []
        for name in names:
            path = f"{self._added_path}/{name}"
            stamp = _stamp(path)
            old = known.get(name)
            if old is not None and old[0] == stamp:
                self._added[name] = old
                continue
            try:
                line = Path(path).read_bytes()
            except OSError:
                continue
            self._added[name] = stamp, _address(line), line
        if self._added == known:
            return False
        self._added_lines = {address: line for _, address, line in self._added.values() if address}
        return True


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice per request, and Path's takes twice the time
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _index(base: mmap.mmap) -> dict[bytes, int]:
    lines: dict[bytes, int] = {}
    start = 0
    while start < len(base):
        end = base.find(b"\n", start)
        if end < 0:
            end = len(base)
        matched = _ADDRESS.match(base, start, end)
        address = matched[1] if matched else _address(base[start:end])
        if address:
            lines[address] = start << 32 | end - start
        start = end + 1
    return lines


def _address(line: bytes) -> bytes:
    matched = _ADDRESS.match(line)
    if matched:
        return matched[1]
    try:
        return from_line(line).address.encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return b""
