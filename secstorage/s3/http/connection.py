"""One connection: bytes in and out, with patience that ends.

The socket never blocks. What a thread waits for it waits for here, so that a client which stalls, or sends a
byte now and then, costs a thread for a known time.
"""

import os
import select
import socket
import ssl
import time
from collections.abc import Callable

from secstorage.s3.error import S3Error
from secstorage.s3.http.body import Chunked, Plain
from secstorage.s3.http.request import Request
from secstorage.s3.http.response import FilePart, Later

STALL_SECONDS = 30.0
LEAST_RATE = 1024
"""Bytes per second over any `_RATE_SECONDS`: fewer is a client that only holds a place."""
_RATE_SECONDS = 60.0
_PIECE = 262_144
_SENDFILE = 8 * 1024**2
_PATIENCE_SECONDS = 5.0
_DISCARD = 262_144
"""So much of a body that nobody wanted is read to keep the connection."""
_LINGER = 32 * 1024**2
_LINGER_SECONDS = 5.0


class ClosedError(Exception):
    """The other end is gone, or too slow."""


class Connection:
    def __init__(self, sock: socket.socket, address: str, *, secure: bool) -> None:
        self.sock = sock
        self.number = sock.fileno()
        self.address = address
        self.secure = secure
        self.handshaking = secure
        self.buffer = bytearray()
        """What was read and belongs to no request yet; or to the body of the one that is answered."""
        self.deadline = 0.0
        self.last = False
        """Whether the answer that is sent next is the last one."""
        self._window = (0.0, 0)
        self._continue = False

    # Reading.

    def receive(self) -> bool:
        """Read what is there, without waiting. Raises ClosedError. Whether there was anything."""
        try:
            piece = self.sock.recv(65_536)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            raise ClosedError from error
        if not piece:
            raise ClosedError
        self.buffer += piece
        return True

    def pending(self) -> bool:
        """Whether TLS has read what the kernel won't tell of any more."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def read_into(self, view: memoryview) -> int:
        if self.buffer:
            count = min(len(view), len(self.buffer))
            view[:count] = self.buffer[:count]
            del self.buffer[:count]
            return count
        self.go_ahead()
        while True:
            try:
                count = self.sock.recv_into(view)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError:
                return 0
            else:
                self._count(count)
                return count

    def go_ahead(self) -> None:
        """Tell a client that waits for it to send the body. Also one whose body is empty: the AWS CLI takes
        no final answer in the place of this one on a connection that it keeps."""
        if self._continue:
            self._continue = False
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def read_line(self, limit: int) -> bytes:
        line = bytearray()
        piece = memoryview(bytearray(1))
        while not line.endswith(b"\n"):
            if len(line) > limit or not self.read_into(piece):
                raise S3Error("IncompleteBody", close=True)
            line += piece
        return bytes(line[:-1].removesuffix(b"\r"))

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self.number, event)
        if not poll.poll(STALL_SECONDS * 1000):
            self.last = True
            raise S3Error("RequestTimeout", close=True)

    def _count(self, count: int) -> None:
        since, total = self._window
        total += count
        if total >= LEAST_RATE * _RATE_SECONDS:
            self._window = time.monotonic(), 0
            return
        now = time.monotonic()
        if now - since > _RATE_SECONDS and since:
            self.last = True
            raise S3Error("RequestTimeout", close=True)
        self._window = since or now, total

    def body(self, request: Request) -> Plain | Chunked:
        """What comes after the head of a request. Raises S3Error."""
        headers = request.headers
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        self._window = 0.0, 0
        self._continue = headers.get("expect", "").lower() == "100-continue"
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise S3Error(
                    "InvalidRequest",
                    "Transfer-Encoding must be chunked, without Content-Length.",
                    close=True,
                )
            return Chunked(self)
        if length is None:
            self._continue = False
            return Plain(self, 0)
        if not length.isascii() or not length.isdigit() or len(length) > 18:
            raise S3Error("InvalidArgument", "Content-Length is not a number.", close=True)
        return Plain(self, int(length))

    def discard(self, body: Plain | Chunked) -> bool:
        """Get rid of what is left of a body; whether what comes next is a request."""
        if self._continue:
            return False  # It is waiting to be told whether to send it at all, and may send it yet.
        if body.ended:
            return True
        view = memoryview(bytearray(16_384))
        total = 0
        try:
            while total < _DISCARD:
                count = body.read_into(view)
                if not count:
                    return True
                total += count
        except S3Error:
            pass
        return False

    # Writing.

    def send(self, piece: bytes | memoryview) -> None:
        """All of it. Raises ClosedError."""
        view = memoryview(piece)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError):
                self._wait_to_send(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._wait_to_send(select.POLLIN)
            except OSError as error:
                raise ClosedError from error

    def _wait_to_send(self, event: int) -> None:
        poll = select.poll()
        poll.register(self.number, event)
        if not poll.poll(STALL_SECONDS * 1000):
            raise ClosedError

    def send_file(self, head: bytes, part: FilePart) -> None:
        """Head and bytes of a file; the file is closed."""
        try:
            if part.size <= _PIECE or self.secure:
                self._send_read(head, part)
            else:
                self.send(head)
                self._send_whole(part)
        finally:
            os.close(part.file)

    def _send_read(self, head: bytes, part: FilePart) -> None:
        offset, left = part.offset, part.size
        while left:
            piece = os.pread(part.file, min(left, _PIECE), offset)
            if not piece:
                raise ClosedError  # Somebody cut the file: the client sees that bytes are missing.
            self.send(head + piece)
            head = b""
            offset += len(piece)
            left -= len(piece)
        if head:
            self.send(head)

    def _send_whole(self, part: FilePart) -> None:
        offset, left = part.offset, part.size
        begin = time.monotonic()
        while left:
            try:
                count = os.sendfile(self.number, part.file, offset, min(left, _SENDFILE))
            except (BlockingIOError, InterruptedError):
                self._wait_to_send(select.POLLOUT)
                if part.size - left < LEAST_RATE * (time.monotonic() - begin - _RATE_SECONDS):
                    raise ClosedError from None
                continue
            except OSError as error:
                raise ClosedError from error
            if not count:
                raise ClosedError
            offset += count
            left -= count

    def send_later(self, head: bytes, later: Later, run: Callable[[Callable[[], None]], None]) -> None:
        """White space while the body is made elsewhere, then the body."""
        made: list[bytes] = []
        read, write = os.pipe2(os.O_CLOEXEC)

        def make() -> None:
            try:
                made.append(later.make())
            finally:
                os.close(write)

        try:
            run(make)
            self.send(head + _chunk(later.head))
            poll = select.poll()
            poll.register(read, select.POLLIN)
            gone = False
            while not poll.poll(_PATIENCE_SECONDS * 1000):
                if not gone:
                    try:
                        self.send(_chunk(b" "))
                    except ClosedError:
                        gone = True  # What was asked for is done all the same.
            if gone or not made:
                raise ClosedError
            self.send(_chunk(made[0]) + b"0\r\n\r\n")
        finally:
            os.close(read)

    def linger(self) -> None:
        """Let the other end read an answer that it got while it was still sending: a close would make the
        kernel throw the answer away (RFC 9112, 9.6)."""
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                return
            self.sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + _LINGER_SECONDS
            total = 0
            poll = select.poll()
            poll.register(self.number, select.POLLIN)
            while total < _LINGER and (left := end - time.monotonic()) > 0:
                if not poll.poll(left * 1000):
                    return
                piece = self.sock.recv(65_536)
                if not piece:
                    return
                total += len(piece)
        except OSError:
            return


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)
