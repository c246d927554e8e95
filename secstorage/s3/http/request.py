"""The head of a request (RFC 9112), and what S3 reads in it: bucket, key, query."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from secstorage.s3.error import S3Error

HEAD_BYTES = 32_768
_LINE = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e\x80-\xff]{1,16384}) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[^\0\r\n]*[^\0\r\n \t])?)[ \t]*")
_FIELDS = 200
# Twice would be two opinions about one thing.
_ONCE = frozenset(
    {"host", "content-length", "authorization", "transfer-encoding", "content-type", "x-amz-date"}
)


class BadRequestError(Exception):
    """Not HTTP/1.1; the sentence is for the client."""


@dataclass(slots=True)
class Request:
    method: str
    raw_path: str
    """As it came, percent signs and all: what a signature is about."""
    path: str
    raw_query: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name; bytes are code points (latin-1)."""
    keep_alive: bool
    secure: bool = False
    address: str = ""
    id: str = ""
    bucket: str = ""
    key: str = ""

    def amz(self, name: str) -> str | None:
        return self.headers.get(f"x-amz-{name}")


def parse(head: bytes) -> Request:
    """`head` without the empty line at its end. Raises BadRequestError, or S3Error for a path that isn't
    UTF-8."""
    lines = head.split(b"\r\n")
    first = _LINE.fullmatch(lines[0])
    if first is None:
        raise BadRequestError("An error occurred when parsing the HTTP request.")
    if len(lines) > _FIELDS:
        raise S3Error("RequestHeaderSectionTooLarge", close=True)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise BadRequestError("A header line is malformed.")
        name, value = found[1].decode().lower(), found[2].decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise BadRequestError(f"The header {name} may be there once.")
            value = f"{headers[name]},{value}"
        headers[name] = value
    minor = first[3]
    if "host" not in headers and minor == b"1":
        raise BadRequestError("The header host is missing.")
    connection = headers.get("connection", "").lower()
    target = first[2].decode("latin-1")
    if not target.startswith("/"):
        # The absolute form, as to a proxy.
        scheme, found_scheme, rest = target.partition("://")
        if not found_scheme or scheme.lower() not in ("http", "https"):
            raise BadRequestError("The request target is neither a path nor a URL.")
        slash = rest.find("/")
        target = rest[slash:] if slash >= 0 else "/"
    raw_path, _, raw_query = target.partition("?")
    return Request(
        method=first[1].decode(),
        raw_path=raw_path,
        path=_text(raw_path),
        raw_query=raw_query,
        query=_query(raw_query) if raw_query else {},
        headers=headers,
        keep_alive="close" not in connection if minor == b"1" else "keep-alive" in connection,
    )


def _text(raw: str) -> str:
    try:
        if "%" not in raw:
            return raw if raw.isascii() else raw.encode("latin-1").decode()
        return unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", elements={"URI": raw}) from None


def pairs(raw: str) -> list[tuple[str, str]]:
    """A query in order."""
    found = []
    for each in raw.split("&"):
        if each:
            name, _, value = each.partition("=")
            found.append((_text(name.replace("+", " ")), _text(value.replace("+", " "))))
    return found


def _query(raw: str) -> dict[str, str]:
    return dict(pairs(raw))


def place(request: Request, domains: Sequence[str]) -> None:
    """Find bucket and key: by the path, or by a host name below one of ours."""
    path = request.path[1:]
    host = request.headers.get("host", "").partition(":")[0].lower()
    for domain in domains:
        if host.endswith("." + domain):
            request.bucket, request.key = host[: -len(domain) - 1], path
            return
    request.bucket, _, request.key = path.partition("/")
