"""A peer for the push loop: it speaks the agent's API over mutual TLS and does what it is told to.

It stands in for states a real appliance can't be asked to be in at will: hanging, failing, refusing.
"""

import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.boot import Boot

Answer = tuple[int, dict[str, Any]]


@dataclass
class Peer:
    name: str
    generation: int = 0
    state: str = "empty"
    document: dict[str, Any] | None = None
    answers: list[Callable[[dict[str, Any]], Answer] | int] = field(default_factory=list)
    """What the next PUTs are answered with; the last one stays. Empty: as a good agent would."""
    delay: float = 0.0
    """Seconds that each PUT takes."""
    puts: list[float] = field(default_factory=list)
    gets: list[float] = field(default_factory=list)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a GET of a path is answered with."""
    most_at_once: int = 0
    redundancy: dict[str, Any] | None = None
    """What it says of its pair."""
    port: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: http.server.ThreadingHTTPServer | None = None
    _context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def start(self, boot: Boot, directory: Path) -> None:
        path = directory / f"{self.name}.pem"
        path.write_text(boot.tls.certificate + boot.tls.key.get_secret_value())
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=boot.tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(path)
        self._context = context
        self.start_again()

    def start_again(self) -> None:
        """At the port that it had."""
        self._server = _server(self, self._context)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def status(self) -> Answer:
        self.gets.append(time.monotonic())
        pair = {} if self.redundancy is None else {"redundancy": self.redundancy}
        return 200, {"generation": self.generation, "state": self.state, **pair}

    def put(self, document: dict[str, Any]) -> Answer:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.puts.append(time.monotonic())
            answer = None
            if self.answers:
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            time.sleep(self.delay)
            if callable(answer):
                return answer(document)
            if answer is not None and answer != 200:
                return answer, {"title": "As told", "detail": f"The script says {answer}."}
            return self.apply(document)
        finally:
            with self._lock:
                self._now -= 1

    def switch_over(self) -> Answer:
        if self.redundancy is None or self.redundancy["state"] != "primary":
            return 409, {"title": "No switch-over", "detail": "This router isn't the primary"}
        self.redundancy = {"state": "backup", "peer": {"name": "r2", "state": "primary"}}
        return 200, self.redundancy

    def apply(self, document: dict[str, Any]) -> Answer:
        if document["generation"] < self.generation:
            return 409, {"title": "Older generation", "detail": f"{self.generation} runs."}
        self.generation, self.state, self.document = document["generation"], "converged", document
        return 200, {"generation": self.generation, "state": "converged", "changes": [], "seconds": 0.01}


def refusing(document: dict[str, Any]) -> Answer:
    errors = [{"pointer": "/dhcp/guest0", "detail": "there is no interface guest0"}]
    return 422, {"title": "Refused", "detail": "One problem.", "errors": errors}


def closed_port() -> int:
    """A port that refuses connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def _server(peer: Peer, context: ssl.SSLContext) -> http.server.ThreadingHTTPServer:
    class Connection(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            # Here, in the connection's own thread, so that one slow handshake holds up nobody.
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.startswith("/v1/capture"):
                self._capture()
                return
            if self.path == "/v1/diagnostics":
                self._capture()
                return
            if self.path == "/v1/status":
                self._answer(*peer.status())
            else:
                self._answer(200, peer.told.get(self.path, {"path": self.path}))

        def _capture(self) -> None:
            if "filter=wrong" in self.path:
                self._answer(422, {"title": "No answer", "detail": "The filter is none: syntax error"})
                return
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            for piece in (b"one", b"two", b"three"):
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.3)

        def do_PUT(self) -> None:
            self._answer(*peer.put(self._body()))

        def do_POST(self) -> None:
            if self.path == "/v1/switch-over":
                self._answer(*peer.switch_over())
                return
            body = self._body()
            if self.path != "/v1/plan":
                self._answer(200, {"path": self.path, "body": body})
                return
            self._answer(200, {"generation": body["generation"], "changes": [{"kind": "File"}]})

        def _body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, status: int, value: dict[str, Any]) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            kind = "application/json" if status < 400 else "application/problem+json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    return Server(("127.0.0.1", peer.port), Connection)
