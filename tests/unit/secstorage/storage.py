"""A scheduler with a store in a directory, and web servers that do what they shouldn't."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from secstorage.storage_server import settings
from secstorage.storage_server.request import Submission
from secstorage.storage_server.scheduler import Scheduler

DISK = b"\0" * 510 + b"\x55\xaa" + bytes(range(256)) * 2 * 8191
"""Four MiB with a boot sector."""
LIMITS = {"attempts": 3, "least_bytes_per_second": 0}


def configuration(path: Path, *, limits: Mapping[str, Any] = LIMITS, **sources: Any) -> dict[str, Any]:
    """What the engine would have written, of a store `one` there (and `two` beside it)."""
    store = {"mounted": False, "state": "active", "reserve_bytes": 0, "jobs_at_once": 4}
    return {
        "appliance": "s1",
        "stores": {name: {**store, "path": str(path / name)} for name in ("one", "two")},
        "limits": {"jobs_at_once": 4, **limits},
        "sources": {
            "resolvers": [],
            "allowed_networks": ["127.0.0.0/8"],
            "ports": list(range(1024, 65536)),
            "authorities": [],
            "credentials": {},
            "proxy": None,
            **sources,
        },
    }


@contextmanager
def running(configured: dict[str, Any], *, owner: str = "s1 boot") -> Iterator[Scheduler]:
    scheduler = Scheduler(settings.of(configured), owner)
    stop = threading.Event()
    thread = threading.Thread(target=scheduler.run, args=(stop,))
    thread.start()
    try:
        until(lambda: all(store.is_open for store in scheduler.stores().values()))
        yield scheduler
    finally:
        stop.set()
        scheduler.wake()
        thread.join()


def until(true: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
    return found


def submitted(scheduler: Scheduler, job: str, **request: Any) -> dict[str, Any]:
    wanted = Submission.model_validate({"job": {"store": "one", **request}}).job
    return scheduler.submit(job, wanted)[0]


def ended(scheduler: Scheduler, job: str) -> dict[str, Any]:
    until(lambda: scheduler.told(job)["state"] in ("done", "failed", "cancelled"))
    return scheduler.told(job)


def downloaded(scheduler: Scheduler, url: str, **more: Any) -> dict[str, Any]:
    """How the job `j` of it ended."""
    wanted = {"kind": "download", "entry": {"kind": "template", "id": "t"}, "urls": [url], **more}
    submitted(scheduler, "j", **wanted)
    return ended(scheduler, "j")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        web = self.server.web
        with web.lock:
            web.requests.append((self.path, dict(self.headers)))
            number = len(web.requests)
        self.close_connection = True
        with contextlib.suppress(ConnectionError):
            web.answer(self, number)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    web: "Web"


@dataclass
class Web:
    """Serves `content` as a good server does, unless `answer` is another one's."""

    content: bytes = DISK
    etag: str = '"one"'
    ranges: bool = True
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: Callable[[BaseHTTPRequestHandler, int], None] = lambda handler, number: None
    port: int = 0

    def __post_init__(self) -> None:
        self.answer = self.well

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/disk.img"

    def well(self, to: BaseHTTPRequestHandler, number: int) -> None:
        self.begin(to)
        to.wfile.write(self.asked(to))

    def asked(self, to: BaseHTTPRequestHandler) -> bytes:
        first, last = self.span(to)
        return self.content[first : last + 1]

    def span(self, to: BaseHTTPRequestHandler) -> tuple[int, int]:
        wanted = to.headers.get("Range", "")
        if not self.ranges or not wanted or to.headers.get("If-Range", self.etag) != self.etag:
            return 0, len(self.content) - 1
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return int(first), min(int(last or len(self.content)), len(self.content) - 1)

    def begin(self, to: BaseHTTPRequestHandler) -> None:
        first, last = self.span(to)
        partial = bool(self.ranges and to.headers.get("Range")) and last - first + 1 < len(self.content)
        to.send_response(206 if partial else 200)
        if partial:
            to.send_header("Content-Range", f"bytes {first}-{last}/{len(self.content)}")
        to.send_header("Content-Length", str(last - first + 1))
        if self.etag:
            to.send_header("ETag", self.etag)
        to.end_headers()


@contextmanager
def serving(web: Web, listening: socket.socket | None = None) -> Iterator[Web]:
    with _Server(("127.0.0.1", 0), _Handler, bind_and_activate=listening is None) as server:
        server.web = web
        if listening is not None:
            server.socket.close()
            server.socket = listening
            server.server_address = listening.getsockname()
        web.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
