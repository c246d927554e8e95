"""A file fetched from one or several URLs: resumed, in parallel ranges where servers offer them, and never
faster than it may."""

import http.client
import io
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path

from secstorage.download.destination import RefusedAddressError, UnknownHostError
from secstorage.download.digest import Follower
from secstorage.download.ranges import Range, Received, missing
from secstorage.download.rate import Bucket
from secstorage.download.stored import stored, write
from secstorage.download.url import Url
from secstorage.download.web import Answer, Login, RefusedByServerError, TryAgainError, Web

_PIECE = 256 << 10
_LEAST_RANGE, _MOST_RANGE = 4 << 20, 64 << 20
_KEPT_BYTES, _KEPT_SECONDS = 64 << 20, 5.0
_SLOW_SECONDS = 30.0
_TICK = 0.1
_OTHERS_FAULTS = (RefusedByServerError, RefusedAddressError, TryAgainError, UnknownHostError, OSError)
_MOST_WAIT = 60.0


class FailedError(Exception):
    """Nothing more can be tried."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class _ChangedError(Exception):
    """The server has another file there than before."""


@dataclass(frozen=True)
class Checkpoint:
    """What of the file is on the disk for certain, and which file that is."""

    size: int | None = None
    validator: str = ""
    """Of the URL that it began with."""
    ranges: tuple[Range, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limits:
    connections: int = 4
    attempts: int = 5
    least_bytes_per_second: int = 0
    file_bytes: int = 1 << 40
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""


@dataclass(kw_only=True)
class Transfer:
    path: Path
    urls: Sequence[Url]
    web: Web
    limits: Limits
    login: Login | None = None
    algorithms: Sequence[str] = ("sha256",)
    verified: bool
    """The checksum of the whole is known: what comes from several mirrors may be put together."""
    buckets: Sequence[Bucket] = ()
    checkpoint: Checkpoint = Checkpoint()
    keep: Callable[[Checkpoint], None]
    """Told what is on the disk now; raises what ends the job."""
    watch: Callable[[], None]
    """Asked several times a second; raises what ends the job."""
    room: Callable[[int], None] = lambda more: None
    """Raises what ends the job where `more` bytes don't fit."""
    came: Callable[[int], None] = lambda count: None
    total: int | None = None
    received: Received = field(default_factory=Received)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sockets: set[socket.socket] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> dict[str, str]:
        """Digests of the whole file, which is on the disk then. Raises FailedError, StoreError, and what
        `watch`, `keep` and `room` raise."""
        web = replace(self.web, opened=self._opened)
        left = list(self.urls)
        refusals: list[str] = []
        failures, had = 0, 0
        while left:
            try:
                return self._attempt(web, left)
            except (RefusedByServerError, RefusedAddressError) as error:
                refusals.append(str(error))
                code = "refused-address" if isinstance(error, RefusedAddressError) else "refused-by-server"
                left.pop(0)
                if not left:
                    raise FailedError(code, "; ".join(refusals)) from None
            except _ChangedError:
                self.checkpoint = Checkpoint()
                self.keep(self.checkpoint)
                failures += 1
                if failures >= self.limits.attempts:
                    raise FailedError("changing", "The file keeps changing at its server") from None
            except (TryAgainError, UnknownHostError, OSError, http.client.HTTPException) as error:
                failures = 1 if self.received.count > had else failures + 1
                had = self.received.count
                if failures >= self.limits.attempts:
                    raise FailedError("download-failed", _words(error)) from None
                left.append(left.pop(0))
                self._wait(failures, getattr(error, "after", 0.0))
        raise FailedError("download-failed", "There is no URL")

    def _wait(self, failures: int, after: float) -> None:
        longest = min(_MOST_WAIT, self.limits.first_wait * 2 ** (failures - 1))
        end = time.monotonic() + min(_MOST_WAIT, max(after, longest * random.uniform(0.5, 1)))  # noqa: S311
        while time.monotonic() < end:
            self.watch()
            time.sleep(_TICK)

    def _attempt(self, web: Web, urls: Sequence[Url]) -> dict[str, str]:
        self._stop.clear()
        self._sockets.clear()
        first = self._asked(web, urls[0], "bytes=0-0")
        if first.status == HTTPStatus.PARTIAL_CONTENT and first.size and self._resumable(first):
            first.close()
            return self._in_ranges(web, first, urls)
        if first.status == HTTPStatus.PARTIAL_CONTENT:
            # Which file a later range would be of nobody can tell.
            first.close()
            first = self._asked(web, urls[0], "")
        return self._whole(first)

    def _resumable(self, first: Answer) -> bool:
        return bool(first.validator) or self.verified

    def _asked(self, web: Web, url: Url, range_: str, validator: str = "") -> Answer:
        headers = {"Range": range_} if range_ else {}
        if validator:
            headers["If-Range"] = validator
        answer = self._guarded(lambda: web.open(url, headers, self.login))
        if (
            answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            and answer.size in (0, None)
            and range_
        ):
            answer.close()
            answer = self._guarded(lambda: web.open(url, {}, self.login))
        return answer.checked()

    def _guarded(self, ask: Callable[[], Answer]) -> Answer:
        """Asked by another thread, so that somebody who doesn't answer holds up no cancelling."""
        found: list[Answer | BaseException] = []

        def call() -> None:
            try:
                found.append(ask())
            except BaseException as error:
                found.append(error)

        asking = threading.Thread(target=call, name="ask", daemon=True)
        asking.start()
        self._watched([asking])
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    def _whole(self, answer: Answer) -> dict[str, str]:
        """From the first byte to the last, of a server that knows no ranges: it has to go well at once."""
        self.total = answer.length
        self._fits(self.total or 0)
        self.received = Received()
        with self._open(truncate=True) as file:
            follower = Follower(self.path, self.algorithms)
            with follower.following():
                self._work([lambda: self._body(answer, file.fileno(), 0, self.total, follower)], None)
            if not self.received.count:
                raise FailedError("empty", "The server sends an empty file")
            self.total = self.received.count
            with stored():
                file.truncate(self.total)
                os.fsync(file.fileno())
        return self._results(follower)

    def _in_ranges(self, web: Web, first: Answer, urls: Sequence[Url]) -> dict[str, str]:
        size = first.size or 0
        before = self.checkpoint
        same = before.size == size and (before.validator == first.validator or self.verified)
        if not same:
            self.checkpoint = Checkpoint(size=size, validator=first.validator)
            self.keep(self.checkpoint)
        self.total = size
        self.received = Received(self.checkpoint.ranges)
        self._fits(size - self.received.count)
        mirrors: list[tuple[Url, str]] = [(first.url, first.validator)]
        if self.verified:
            mirrors += self._further(web, urls[1:], size)
        length = min(_MOST_RANGE, max(_LEAST_RANGE, size // (4 * self.limits.connections)))
        todo = missing(self.received.ranges, size, most=length)
        with self._open() as file:
            with stored():
                file.truncate(size)
            follower = Follower(self.path, self.algorithms)
            follower.reached(self.received.frontier)

            def take() -> Range | None:
                with self._lock:
                    return todo.pop(0) if todo else None

            def work(mirror: tuple[Url, str]) -> None:
                while (wanted := take()) is not None and not self._stop.is_set():
                    self._range(web, mirror, wanted, size, file.fileno(), follower)

            count = min(self.limits.connections, len(todo))
            workers = [partial(work, mirrors[number % len(mirrors)]) for number in range(count)]
            with follower.following():
                self._work(workers, file.fileno())
            self._kept(file.fileno())
            if self.received.ranges != [(0, size)]:
                raise TryAgainError("Some of the file hasn't come")
        return self._results(follower)

    def _further(self, web: Web, urls: Sequence[Url], size: int) -> list[tuple[Url, str]]:
        """Mirrors that have a file of this size."""
        found = []
        for url in urls[: self.limits.connections - 1]:
            with suppress(
                RefusedByServerError, RefusedAddressError, TryAgainError, UnknownHostError, OSError
            ):
                answer = self._asked(web, url, "bytes=0-0")
                answer.close()
                if answer.status == HTTPStatus.PARTIAL_CONTENT and answer.size == size:
                    found.append((answer.url, answer.validator))
        return found

    def _range(
        self, web: Web, mirror: tuple[Url, str], wanted: Range, size: int, file: int, follower: Follower
    ) -> None:
        begin, end = wanted
        url, validator = mirror
        headers = {"Range": f"bytes={begin}-{end - 1}"} | ({"If-Range": validator} if validator else {})
        answer = web.open(url, headers, self.login)
        try:
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _ChangedError
            answer.checked()
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                same = answer.size == size and answer.begin == begin
            else:
                # A range of all of it needn't be answered as one.
                same = wanted == (0, size) and answer.length == size and answer.validator == validator
            if not same:
                raise _ChangedError
            self._body(answer, file, begin, end - begin, follower)
        finally:
            answer.close()

    def _body(self, answer: Answer, file: int, at: int, length: int | None, follower: Follower) -> None:
        begun, count, slow_since, slow_count = at, 0, time.monotonic(), 0
        while not self._stop.is_set() and (length is None or count < length):
            piece = answer.read(_PIECE if length is None else min(_PIECE, length - count))
            if not piece:
                break
            got = len(piece)
            write(file, memoryview(piece), at)
            at, count = at + got, count + got
            with self._lock:
                self.received.add(begun, at)
                follower.reached(self.received.frontier)
            self.came(got)
            if length is None and count > self.limits.file_bytes:
                raise FailedError("too-large", f"The file has more than {self.limits.file_bytes} bytes")
            self._slow_down(got)
            slow_count += got
            if (elapsed := time.monotonic() - slow_since) >= _SLOW_SECONDS:
                if slow_count < self.limits.least_bytes_per_second * elapsed:
                    raise TryAgainError(
                        f"{answer.url.shown} sends {slow_count / elapsed:.0f} bytes a second"
                    )
                slow_since, slow_count = time.monotonic(), 0
        if length is not None and count < length and not self._stop.is_set():
            raise TryAgainError(f"{answer.url.shown} broke off: {length - count} bytes were still to come")

    def _slow_down(self, count: int) -> None:
        for bucket in self.buckets:
            end = time.monotonic() + bucket.wait(count)
            while (left := end - time.monotonic()) > 0 and not self._stop.is_set():
                time.sleep(min(_TICK, left))

    def _work(self, workers: Sequence[Callable[[], None]], kept: int | None) -> None:
        """All at once; the first exception ends the others."""
        errors: list[BaseException] = []

        def call(worker: Callable[[], None]) -> None:
            try:
                worker()
            except BaseException as error:
                errors.append(error)
                self._end()

        threads = [
            threading.Thread(target=call, args=(each,), name="download", daemon=True) for each in workers
        ]
        for thread in threads:
            thread.start()
        self._watched(threads, kept)
        if errors:
            if kept is not None:
                self._kept(kept)
            raise errors[0]

    def _watched(self, threads: Sequence[threading.Thread], kept: int | None = None) -> None:
        at, count = time.monotonic(), self.received.count
        try:
            while any(thread.is_alive() for thread in threads):
                self.watch()
                for thread in threads:
                    thread.join(_TICK / len(threads))
                elapsed = time.monotonic() - at
                if elapsed > _KEPT_SECONDS or self.received.count - count > _KEPT_BYTES:
                    self.room(max(0, (self.total or 0) - self.received.count))
                    if kept is not None:
                        self._kept(kept)
                    at, count = time.monotonic(), self.received.count
        except BaseException:
            self._end()
            for thread in threads:
                thread.join()
            with suppress(OSError):
                if kept is not None:
                    self._kept(kept)
            raise

    def _kept(self, file: int) -> None:
        with self._lock:
            ranges = tuple(self.received.ranges)
        if ranges == self.checkpoint.ranges:
            return
        with stored():
            os.fdatasync(file)
        self.checkpoint = replace(self.checkpoint, ranges=ranges)
        self.keep(self.checkpoint)

    def _opened(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets = {each for each in self._sockets if each.fileno() >= 0} | {sock}
        if self._stop.is_set():
            raise TryAgainError("It was ended")

    def _end(self) -> None:
        self._stop.set()
        with self._lock:
            for sock in self._sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _fits(self, more: int) -> None:
        if (self.total or 0) > self.limits.file_bytes:
            raise FailedError(
                "too-large", f"The file has {self.total} bytes; {self.limits.file_bytes} are allowed"
            )
        self.room(more)

    def _results(self, follower: Follower) -> dict[str, str]:
        with stored():
            return follower.results()

    def _open(self, *, truncate: bool = False) -> io.FileIO:
        flags = os.O_RDWR | os.O_CREAT | (os.O_TRUNC if truncate else 0)
        with stored():
            return io.FileIO(os.open(self.path, flags, 0o640), "r+")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
