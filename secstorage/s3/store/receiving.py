"""Bytes that come in, to a file, with their digests: a stream at the speed of the slowest of them."""

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from secstorage.s3 import checksum
from secstorage.s3.checksum import Digest
from secstorage.s3.error import S3Error

_PIECE = 262_144
_PIECES = 4
_INLINE = 1_048_576


class Body(Protocol):
    @property
    def length(self) -> int | None:
        """Bytes to come, where that is known before."""

    def read_into(self, view: memoryview) -> int:
        """At least one byte, or 0 at the end. Raises S3Error for a body that isn't what it claims to be."""


def receive(body: Body, file: int, digests: Sequence[Digest]) -> int:
    """Write a body to a file and into all digests; its size. Raises S3Error or OSError."""
    if body.length is not None and body.length <= _INLINE:
        return _receive_small(body, file, digests)
    return _Pipeline(digests).run(body, file)


def _write(file: int, view: memoryview) -> None:
    while view:
        view = view[os.write(file, view) :]


def _fill(body: Body, view: memoryview) -> int:
    filled = 0
    while filled < len(view):
        count = body.read_into(view[filled:])
        if not count:
            break
        filled += count
    return filled


def _receive_small(body: Body, file: int, digests: Sequence[Digest]) -> int:
    view = memoryview(bytearray(min((body.length or 0) + 1, _PIECE)))
    total = 0
    while count := _fill(body, view):
        piece = view[:count]
        _write(file, piece)
        for digest in digests:
            digest.update(piece)
        total += count
    return total


@dataclass(slots=True)
class _Piece:
    view: memoryview
    used: int = 0
    holders: int = 0


class _Pipeline:
    """One thread receives and writes; the digests are made in two others, the slowest (MD5) alone in one.
    Hashing, sockets and files run without Python's lock."""

    def __init__(self, digests: Sequence[Digest]) -> None:
        self._lanes = [lane for lane in (digests[:1], digests[1:]) if lane]
        self._free: SimpleQueue[_Piece] = SimpleQueue()
        self._lock = threading.Lock()
        self._errors: list[Exception] = []
        for _ in range(_PIECES):
            self._free.put(_Piece(memoryview(bytearray(_PIECE))))

    def run(self, body: Body, file: int) -> int:
        queues: list[SimpleQueue[_Piece | None]] = [SimpleQueue() for _ in self._lanes]
        threads = [
            threading.Thread(target=self._digest, args=(lane, queue), daemon=True)
            for lane, queue in zip(self._lanes, queues, strict=True)
        ]
        for thread in threads:
            thread.start()
        total = 0
        try:
            while True:
                piece = self._free.get()
                piece.used = _fill(body, piece.view)
                if self._errors:
                    raise self._errors[0]
                if not piece.used:
                    break
                total += piece.used
                piece.holders = len(queues) + 1
                for queue in queues:
                    queue.put(piece)
                _write(file, piece.view[: piece.used])
                self._release(piece)
        finally:
            for queue in queues:
                queue.put(None)
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]
        return total

    def _digest(self, lane: Sequence[Digest], queue: "SimpleQueue[_Piece | None]") -> None:
        while (piece := queue.get()) is not None:
            try:
                for digest in lane:
                    digest.update(piece.view[: piece.used])
            except Exception as error:
                self._errors.append(error)
            self._release(piece)

    def _release(self, piece: _Piece) -> None:
        with self._lock:
            piece.holders -= 1
            last = not piece.holders
        if last:
            self._free.put(piece)


def copy(source: int, target: int, *, offset: int, size: int) -> None:
    """Append a range of one file to another, in the kernel, and without copying where the file system
    can."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, min(size - done, 1 << 30), offset_src=offset + done)
        except OSError:
            count = os.sendfile(target, source, offset + done, min(size - done, 1 << 20))
        if not count:
            raise OSError("the file became shorter while it was copied")
        done += count


class AtMost:
    """A body that is refused as soon as it is longer than it may be."""

    def __init__(self, inner: Body, most: int) -> None:
        self._inner = inner
        self._left = most

    @property
    def length(self) -> int | None:
        return self._inner.length

    def read_into(self, view: memoryview) -> int:
        count = self._inner.read_into(view)
        self._left -= count
        if self._left < 0:
            raise S3Error("EntityTooLarge", close=True)
        return count


class FileBody:
    """A range of a file, as a body."""

    def __init__(self, file: int, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self.length: int | None = size
        self._left = size

    def read_into(self, view: memoryview) -> int:
        if not self._left:
            return 0
        count = os.preadv(self._file, [view[: self._left]], self._offset)
        if not count:
            raise OSError("the file became shorter while it was copied")
        self._offset += count
        self._left -= count
        return count


def digests(algorithm: str) -> dict[str, Digest]:
    """MD5, and maybe another."""
    found: dict[str, Digest] = {"MD5": hashlib.md5(usedforsecurity=False)}
    if algorithm:
        found[algorithm] = checksum.new(algorithm)
    return found
