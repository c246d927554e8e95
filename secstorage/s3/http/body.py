"""Bodies of requests: of a known length, or in HTTP's chunks."""

from typing import Protocol

from secstorage.s3.error import S3Error

_LINE = 8192
_BUFFER = 16_384


class Source(Protocol):
    """Where bytes come from: a connection, after its head."""

    def read_into(self, view: memoryview) -> int:
        """At least one byte, or 0 when the other end has closed. Raises S3Error when it takes too long."""

    def read_line(self, limit: int) -> bytes:
        """To the next line feed, without CR LF. Raises S3Error."""


class Plain:
    """As many bytes as Content-Length says (RFC 9112, 6.3)."""

    def __init__(self, source: Source, length: int) -> None:
        self._source = source
        self.length: int | None = length
        self.left = length

    @property
    def ended(self) -> bool:
        return not self.left

    def read_into(self, view: memoryview) -> int:
        if not self.left:
            return 0
        count = self._source.read_into(view[: self.left])
        if not count:
            raise S3Error("IncompleteBody", close=True)
        self.left -= count
        return count


class Chunked:
    """RFC 9112, 7.1."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.length: int | None = None
        self.ended = False
        self._chunk = 0
        self._first = True

    def read_into(self, view: memoryview) -> int:
        if self.ended:
            return 0
        if not self._chunk:
            self._next()
            if self.ended:
                return 0
        count = self._source.read_into(view[: self._chunk])
        if not count:
            raise S3Error("IncompleteBody", close=True)
        self._chunk -= count
        return count

    def _next(self) -> None:
        if not self._first and self._source.read_line(2):
            raise S3Error("IncompleteBody", close=True)
        self._first = False
        size = self._source.read_line(_LINE).partition(b";")[0].strip()
        if not 0 < len(size) <= 15 or size.strip(b"0123456789abcdefABCDEF"):
            raise S3Error("IncompleteBody", close=True)
        self._chunk = int(size, 16)
        if not self._chunk:
            for _ in range(100):
                if not self._source.read_line(_LINE):
                    self.ended = True
                    return
            raise S3Error("IncompleteBody", close=True)


class Buffered:
    """Lines and bytes of a body that has both."""

    def __init__(self, inner: Plain | Chunked) -> None:
        self._inner = inner
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0

    def read_into(self, view: memoryview) -> int:
        if self._start == self._end:
            if len(view) >= _BUFFER:
                return self._inner.read_into(view)
            self._start, self._end = 0, self._inner.read_into(self._buffer)
        count = min(len(view), self._end - self._start)
        view[:count] = self._buffer[self._start : self._start + count]
        self._start += count
        return count

    def read_line(self, limit: int) -> bytes:
        line = b""
        while True:
            if self._start == self._end:
                self._start, self._end = 0, self._inner.read_into(self._buffer)
                if not self._end:
                    raise S3Error("IncompleteBody", close=True)
            piece = bytes(self._buffer[self._start : self._end])
            end = piece.find(b"\n")
            if end >= 0:
                self._start += end + 1
                line += piece[:end]
                if len(line) > limit:
                    break
                return line.removesuffix(b"\r")
            self._start = self._end
            line += piece
            if len(line) > limit:
                break
        raise S3Error("IncompleteBody", close=True)
