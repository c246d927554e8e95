"""What is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

NO_BODY = frozenset({204, 304})


@dataclass(slots=True)
class FilePart:
    """Bytes of an open file, which whoever sends them closes."""

    file: int
    offset: int
    size: int


@dataclass(slots=True)
class Later:
    """A body that takes long to make: the client is sent white space meanwhile, so that it waits on."""

    head: bytes
    make: Callable[[], bytes]
    """Never raises: errors are bodies, too."""


@dataclass(slots=True)
class Response:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | FilePart | Later = b""
    close: bool = False

    @property
    def size(self) -> int:
        if isinstance(self.body, FilePart):
            return self.body.size
        return len(self.body) if isinstance(self.body, bytes) else 0


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@lru_cache(maxsize=4)
def http_date(seconds: int) -> str:
    """RFC 9110, 5.6.7."""
    return formatdate(seconds, usegmt=True)


def head(response: Response, *, request_id: str, date: str, keep_alive: bool) -> bytes:
    """Status line and fields."""
    status = response.status
    lines = [
        f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n"
        f"x-amz-request-id: {request_id}\r\nx-amz-id-2: {request_id}\r\nDate: {date}\r\nServer: sysvm\r\n"
    ]
    lines += [f"{name}: {value}\r\n" for name, value in _safe(response.headers).items()]
    if isinstance(response.body, Later):
        lines.append("Transfer-Encoding: chunked\r\n")
    elif status not in NO_BODY and "Content-Length" not in response.headers:
        lines.append(f"Content-Length: {response.size}\r\n")
    if not keep_alive:
        lines.append("Connection: close\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1", "replace")


def _safe(headers: Mapping[str, str]) -> Mapping[str, str]:
    for value in headers.values():
        if "\r" in value or "\n" in value or "\0" in value:
            return {name: value.translate(_NO_LINES) for name, value in headers.items()}
    return headers


_NO_LINES = {0: None, 10: " ", 13: " "}
