"""HTTP responses as bytes. Nothing from a record gets into a header, so no value can forge one."""

import json
from dataclasses import dataclass
from http import HTTPStatus

TEXT = "text/plain"
JSON = "application/json"
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    content_type: str = TEXT
    header: tuple[str, str] | None = None
    """One more header, from us, never from a guest or a record."""


NOT_FOUND = Response(404)


def text(body: str) -> Response:
    return Response(200, body.encode())


def document(value: object) -> Response:
    return Response(200, json.dumps(value).encode(), JSON)


def encode(response: Response, *, keep_alive: bool, minor: int = 1, head: bool = False) -> bytes:
    """The whole answer, for one write: a header that goes out in a segment of its own waits for the
    client's delayed ACK (Nagle, RFC 896), 40 ms per request. `head`: no body, as HEAD wants it."""
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        "Server: sysvm",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
    ]
    if response.header is not None:
        lines.append(f"{response.header[0]}: {response.header[1]}")
    if not keep_alive:
        lines.append("Connection: close")
    elif minor == 0:
        lines.append("Connection: keep-alive")
    first = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    return first if head else first + response.body
