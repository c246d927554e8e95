"""What the agent asks: HTTP on a socket that root alone reaches."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

Answer = tuple[int, Mapping[str, Any]]
"""HTTP status and JSON."""


def serve(answer: Callable[[str, str], Answer], *, path: Path) -> None:
    """Answer each request's method and path, for as long as the process lives."""

    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def address_string(self) -> str:
            return "local"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, method: str) -> None:
            status, value = answer(method, self.path)
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    path.unlink(missing_ok=True)
    server = ThreadingUnixStreamServer(str(path), Request)
    server.daemon_threads = True
    path.chmod(0o600)
    threading.Thread(target=server.serve_forever, daemon=True).start()
