"""Reading HTTP/1.x requests (RFC 9112) from untrusted guests: strict, bounded, and pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

HEAD_BYTES = 8192
"""Request line and headers together may have this size."""
BODY_BYTES = 1024
"""A body is read past and ignored; nothing a guest may ask for has one of any size."""

_LINE = re.compile(r"([A-Z]{1,16}) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
# Nothing that is served needs an escape, a query or a fragment, so nothing is decoded: what can't be
# written in these characters is refused, and no two texts ever name the same thing.
_PATH = re.compile(r"/[A-Za-z0-9._~:/@+=,-]*")
_TRAVERSAL = re.compile(r"/\.{1,2}(/|$)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name; a header that came twice is joined with a comma (RFC 9110 5.3)."""
    keep_alive: bool = True
    minor: int = 1
    """The minor HTTP version: 1.0 clients have to be told that a connection is kept."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that can't be answered; the connection ends after the status."""

    status: int


def parse(received: bytes | bytearray) -> tuple[Request | Refusal, int] | None:
    """The first request in `received` and how many bytes it takes; None when it isn't whole yet.

    What comes out doesn't depend on how the bytes were cut into segments. After a Refusal there is
    nothing to go on with: where the next request would start is not known.
    """
    end = received.find(b"\r\n\r\n", 0, HEAD_BYTES)
    if end < 0:
        if len(received) < HEAD_BYTES:
            return None
        return Refusal(431 if b"\r\n" in received[:HEAD_BYTES] else 414), len(received)
    head = _head(bytes(received[:end]).decode("latin-1").split("\r\n"))
    if isinstance(head, Refusal):
        return head, len(received)
    body = _body_length(head.headers)
    if isinstance(body, Refusal):
        return body, len(received)
    end += 4 + body
    return (head, end) if len(received) >= end else None


def _head(lines: list[str]) -> Request | Refusal:
    matched = _LINE.fullmatch(lines[0])
    if matched is None:
        return Refusal(400)
    method, target, major, minor = matched.groups()
    if major != "1" or minor not in "01":
        return Refusal(505)
    # The absolute form (`GET http://...`) is for proxies, and we must not be taken for one.
    if not _PATH.fullmatch(target) or _TRAVERSAL.search(target):
        return Refusal(400)
    headers: dict[str, str] = {}
    hosts = 0
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            return Refusal(400)
        name, value = header[1].lower(), header[2].rstrip(" \t")
        hosts += name == "host"
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if hosts > 1 or (minor == "1" and not hosts):
        return Refusal(400)
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection and (minor == "1" or "keep-alive" in connection)
    return Request(method=method, path=target, headers=headers, keep_alive=keep_alive, minor=int(minor))


def _body_length(headers: Mapping[str, str]) -> int | Refusal:
    if "transfer-encoding" in headers:
        return Refusal(501)
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,19}", length):
        return Refusal(400)
    return int(length) if int(length) <= BODY_BYTES else Refusal(413)
