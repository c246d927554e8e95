"""Which bytes of a file are there."""

from bisect import insort
from collections.abc import Iterable

Range = tuple[int, int]
"""First byte, and the one behind the last."""


def merged(ranges: Iterable[Range]) -> list[Range]:
    """In order, with nothing between two that belongs to both."""
    found: list[Range] = []
    for begin, end in sorted(ranges):
        if begin >= end:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def missing(ranges: Iterable[Range], size: int, *, most: int) -> list[Range]:
    """What lies between, in pieces of no more than `most` bytes."""
    found: list[Range] = []
    at = 0
    for begin, end in [*merged(ranges), (size, size)]:
        while at < begin:
            found.append((at, min(begin, at + most)))
            at = found[-1][1]
        at = max(at, end)
    return found


class Received:
    """Ranges as they grow."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._ranges = merged(ranges)

    def add(self, begin: int, end: int) -> None:
        insort(self._ranges, (begin, end))
        self._ranges = merged(self._ranges)

    @property
    def ranges(self) -> list[Range]:
        return list(self._ranges)

    @property
    def count(self) -> int:
        return sum(end - begin for begin, end in self._ranges)

    @property
    def frontier(self) -> int:
        """Up to here all of it is there."""
        return self._ranges[0][1] if self._ranges and self._ranges[0][0] == 0 else 0
