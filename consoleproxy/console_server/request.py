"""HTTP/1.1 requests (RFC 9112), as few of them as a page and its WebSocket need."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MOST_HEAD = 16_384
MOST_BODY = 8192
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"/[!-~]{0,2047}")
_REASONS = {
    200: "OK",
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class RequestError(Exception):
    """A request that isn't one, or isn't taken."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name. Of one that comes twice the values are joined by a comma."""
    body: bytes

    def lists(self, header: str, word: str) -> bool:
        values = self.headers.get(header, "").split(",")
        return word in (value.strip().lower() for value in values)


def read(buffer: bytes) -> tuple[Request, bytes] | None:
    """The first request in what has come, and what comes behind it. Raises RequestError."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MOST_HEAD:
            raise RequestError(431)
        return None
    if end > MOST_HEAD:
        raise RequestError(431)
    lines = buffer[:end].decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0") or not _TOKEN.fullmatch(parts[0]):
        raise RequestError(400)
    if not _TARGET.fullmatch(parts[1]):
        raise RequestError(400)
    headers = _headers(lines[1:])
    if "transfer-encoding" in headers:
        raise RequestError(411)
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal() or len(length) > 9:
        raise RequestError(400)
    start, stop = end + 4, end + 4 + int(length)
    if int(length) > MOST_BODY:
        raise RequestError(413)
    if len(buffer) < stop:
        return None
    path = parts[1].partition("?")[0]
    return Request(parts[0], path, headers, buffer[start:stop]), buffer[stop:]


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise RequestError(400)
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            if name in ("host", "content-length", "origin", "sec-websocket-key"):
                raise RequestError(400)
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def response(status: int, body: bytes, headers: Mapping[str, str], *, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
