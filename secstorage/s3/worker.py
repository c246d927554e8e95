"""A worker process: one thread that waits for all connections, and others for what takes longer.

The waiting thread reads heads, and answers what is asked of a small object itself as long as the store is
quick. All else is answered by a thread that has the connection to itself until the answer is sent.
"""

import os
import select
import signal
import socket
import ssl
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from secstorage.s3.error import S3Error
from secstorage.s3.http import response as responses
from secstorage.s3.http.connection import ClosedError, Connection
from secstorage.s3.http.pool import Pool
from secstorage.s3.http.request import HEAD_BYTES, BadRequestError, Request, parse
from secstorage.s3.http.response import FilePart, Later, Response

_HEAD_SECONDS = 20.0
_IDLE_SECONDS = 75.0
_INLINE_BYTES = 65_536
_SLOW_SECONDS = 0.005
_SLOW_PAUSE_SECONDS = 1.0
_TICK_SECONDS = 1.0

Answer = Callable[[Request, Connection], Response]


@dataclass(frozen=True, slots=True)
class Listener:
    sock: socket.socket
    context: ssl.SSLContext | None


class Worker:
    def __init__(
        self,
        listeners: Sequence[Listener],
        answer: Answer,
        refuse: Callable[[S3Error, Request | None], Response],
        *,
        connections: int,
        threads: int,
        access_log: bool = False,
    ) -> None:
        self._listeners = {each.sock.fileno(): each for each in listeners}
        self._answer = answer
        self._refuse = refuse
        self._most = connections
        self._pool = Pool(threads)
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._waiting: set[Connection] = set()
        self._quick_after = 0.0
        self._draining = False
        self._stop_at = float("inf")
        self._access_log = access_log
        self._request_id = int.from_bytes(os.urandom(7), "big")

    def run(self) -> None:
        """Until told to stop: SIGTERM ends it in ten seconds, SIGQUIT when the last answer is sent."""
        signal.signal(signal.SIGTERM, lambda *_: self._drain(10.0))
        signal.signal(signal.SIGQUIT, lambda *_: self._drain(None))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        self._epoll.register(woken, select.EPOLLIN)
        for number in self._listeners:
            self._epoll.register(number, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        parent = os.getppid()
        next_tick = 0.0
        while not (self._draining and not self._connections):
            try:
                events = self._epoll.poll(_TICK_SECONDS)
            except InterruptedError:
                events = []
            for number, _ in events:
                if number == woken:
                    os.read(woken, 64)
                    next_tick = 0.0
                    continue
                listener = self._listeners.get(number)
                if listener is not None:
                    self._accept(listener)
                    continue
                connection = self._connections.get(number)
                if connection is not None and connection in self._waiting:
                    self._readable(connection)
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + _TICK_SECONDS
                self._tick(now)
                if os.getppid() != parent:
                    self._drain(10.0)
            if now > self._stop_at:
                return

    def _drain(self, seconds: float | None) -> None:
        if seconds is not None:
            self._stop_at = min(self._stop_at, time.monotonic() + seconds)
        self._draining = True

    def _tick(self, now: float) -> None:
        if self._draining and self._listeners:
            for number, listener in self._listeners.items():
                self._epoll.unregister(number)
                listener.sock.close()
            self._listeners.clear()
        for connection in list(self._waiting):
            if now > connection.deadline or (self._draining and not connection.buffer):
                self._close(connection)

    # Connections.

    def _accept(self, listener: Listener) -> None:
        for _ in range(16):
            try:
                sock, address = listener.sock.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self._connections) >= self._most and not self._make_room():
                sock.close()
                continue
            if listener.context is not None:
                try:
                    sock = listener.context.wrap_socket(
                        sock, server_side=True, do_handshake_on_connect=False
                    )
                except OSError:
                    sock.close()  # It is gone already.
                    continue
            connection = Connection(sock, str(address[0]), secure=listener.context is not None)
            connection.deadline = time.monotonic() + _HEAD_SECONDS
            self._connections[connection.number] = connection
            self._waiting.add(connection)
            self._epoll.register(connection.number, select.EPOLLIN)

    def _make_room(self) -> bool:
        """Close the connection that has been idle the longest."""
        idle = [each for each in self._waiting if not each.buffer and not each.handshaking]
        if not idle:
            return False
        self._close(min(idle, key=lambda each: each.deadline))
        return True

    def _close(self, connection: Connection) -> None:
        self._waiting.discard(connection)
        if self._connections.get(connection.number) is connection:
            del self._connections[connection.number]
        with suppress(OSError):
            connection.sock.close()

    def _readable(self, connection: Connection) -> None:
        try:
            if connection.handshaking and not self._handshake(connection):
                return
            begun = bool(connection.buffer)
            while connection.receive() and connection.pending():
                pass
            if not connection.buffer:
                return
            if not begun:
                connection.deadline = time.monotonic() + _HEAD_SECONDS
        except ClosedError:
            self._close(connection)
            return
        while (request := self._next(connection)) is not None:
            if not isinstance(request, Request):
                self._hand_over(connection, lambda: self._send_refusal(connection, request))
                return
            if not self._quick(request):
                self._hand_over(connection, lambda: self._serve(connection, request))
                return
            try:
                if not self._serve_here(connection, request):
                    return
            except Exception:
                # A file that can't be read is one client's trouble, not the others'.
                traceback.print_exc()
                self._close(connection)
                return

    def _handshake(self, connection: Connection) -> bool:
        if not isinstance(connection.sock, ssl.SSLSocket):
            return True
        try:
            connection.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._epoll.modify(connection.number, select.EPOLLIN)
            return False
        except ssl.SSLWantWriteError:
            self._epoll.modify(connection.number, select.EPOLLOUT)
            return False
        except OSError as error:
            raise ClosedError from error
        self._epoll.modify(connection.number, select.EPOLLIN)
        connection.handshaking = False
        return True

    def _next(self, connection: Connection) -> Request | S3Error | None:
        """The next request of those that have come; or what is wrong with it."""
        while connection.buffer[:2] == b"\r\n":
            del connection.buffer[:2]  # RFC 9112, 2.2
        end = connection.buffer.find(b"\r\n\r\n", 0, HEAD_BYTES)
        if end < 0:
            if len(connection.buffer) >= HEAD_BYTES:
                return S3Error("RequestHeaderSectionTooLarge", close=True)
            return None
        head = bytes(connection.buffer[:end])
        del connection.buffer[: end + 4]
        try:
            request = parse(head)
        except BadRequestError as error:
            return S3Error("InvalidRequest", str(error), close=True)
        except S3Error as error:
            error.close = True
            return error
        request.secure = connection.secure
        request.address = connection.address
        self._request_id += 1
        request.id = f"{self._request_id:016X}"
        return request

    # Answers.

    def _quick(self, request: Request) -> bool:
        """Whether the waiting thread may answer it: reading one object, from a store that was quick just
        now."""
        return (
            request.method in ("GET", "HEAD")
            and "transfer-encoding" not in request.headers
            and request.headers.get("content-length", "0") == "0"
            and request.path.count("/") >= 2
            and not request.path.endswith("/")
            and time.monotonic() >= self._quick_after
        )

    def _serve_here(self, connection: Connection, request: Request) -> bool:
        """Whether the connection is still this thread's."""
        begin = time.monotonic()
        response = self._respond(request, connection)
        if time.monotonic() - begin > _SLOW_SECONDS:
            self._quick_after = begin + _SLOW_PAUSE_SECONDS
        head = self._head(connection, request, response)
        body = response.body
        if isinstance(body, FilePart) and request.method != "HEAD":
            if body.size > _INLINE_BYTES:
                self._hand_over(connection, lambda: self._finish(connection, request, response, head))
                return False
            piece = os.pread(body.file, body.size, body.offset)
            os.close(body.file)
            if len(piece) < body.size:
                self._close(connection)
                return False
        elif isinstance(body, bytes) and request.method != "HEAD":
            piece = body
        else:
            piece = b""
            if isinstance(body, FilePart):
                os.close(body.file)
        try:
            sent = connection.sock.send(head + piece)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = 0
        except OSError:
            self._close(connection)
            return False
        if sent < len(head) + len(piece):
            rest = (head + piece)[sent:]
            self._hand_over(connection, lambda: self._send_rest(connection, rest))
            return False
        if connection.last:
            self._close(connection)
            return False
        connection.deadline = time.monotonic() + _IDLE_SECONDS
        return True

    def _hand_over(self, connection: Connection, job: Callable[[], None]) -> None:
        """To a thread; the waiting one forgets the connection until it is given back."""
        self._waiting.discard(connection)
        self._epoll.unregister(connection.number)
        self._pool.run(job)

    def _serve(self, connection: Connection, request: Request) -> None:
        try:
            response = self._respond(request, connection)
            head = self._head(connection, request, response)
            self._send(connection, request, response, head)
            self._go_on(connection)
        except ClosedError:
            self._close(connection)
        except Exception:
            traceback.print_exc()
            self._close(connection)

    def _finish(self, connection: Connection, request: Request, response: Response, head: bytes) -> None:
        try:
            self._send(connection, request, response, head)
            self._go_on(connection)
        except ClosedError:
            self._close(connection)

    def _send_rest(self, connection: Connection, rest: bytes) -> None:
        try:
            connection.send(rest)
            self._go_on(connection)
        except ClosedError:
            self._close(connection)

    def _go_on(self, connection: Connection) -> None:
        """After an answer: with the next request, if it has come already."""
        if connection.last:
            self._close(connection)
            return
        while connection.pending() and connection.receive():
            pass
        following = self._next(connection)
        if following is None:
            self._give_back(connection)
        elif isinstance(following, Request):
            self._pool.run(lambda: self._serve(connection, following))
        else:
            self._send_refusal(connection, following)

    def _send_refusal(self, connection: Connection, error: S3Error) -> None:
        response = self._refuse(error, None)
        connection.last = True
        head = responses.head(
            response, request_id="0", date=responses.http_date(int(time.time())), keep_alive=False
        )
        with suppress(ClosedError):
            connection.send(head + response.body if isinstance(response.body, bytes) else head)
            connection.linger()
        self._close(connection)

    def _give_back(self, connection: Connection) -> None:
        if self._draining:
            self._close(connection)
            return
        connection.deadline = time.monotonic() + (_HEAD_SECONDS if connection.buffer else _IDLE_SECONDS)
        self._waiting.add(connection)
        # If something came meanwhile, the kernel tells at once. (If the waiting thread has closed it just
        # now, there is nothing to wait for.)
        with suppress(OSError, ValueError):
            self._epoll.register(connection.sock.fileno(), select.EPOLLIN)

    def _respond(self, request: Request, connection: Connection) -> Response:
        try:
            response = self._answer(request, connection)
        except S3Error as error:
            response = self._refuse(error, request)
        except Exception:
            print(f"{request.id}: {request.method} {request.path!r}", file=sys.stderr)
            traceback.print_exc()
            response = self._refuse(S3Error("InternalError", close=True), request)
        if self._access_log:
            query = "?" if request.raw_query else ""
            what = f"{request.method} {request.raw_path}{query}"
            sys.stderr.write(f"{request.address} {request.id} {what} {response.status}\n")
            sys.stderr.flush()
        return response

    def _head(self, connection: Connection, request: Request, response: Response) -> bytes:
        if response.close or not request.keep_alive or self._draining:
            connection.last = True
        date = responses.http_date(int(time.time()))
        return responses.head(response, request_id=request.id, date=date, keep_alive=not connection.last)

    def _send(self, connection: Connection, request: Request, response: Response, head: bytes) -> None:
        body = response.body
        if request.method == "HEAD":
            if isinstance(body, FilePart):
                os.close(body.file)
            connection.send(head)
        elif isinstance(body, FilePart):
            connection.send_file(head, body)
        elif isinstance(body, Later):
            connection.send_later(head, body, self._pool.run)
        else:
            connection.send(head + body)
        if response.close:
            connection.linger()
