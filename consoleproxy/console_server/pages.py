"""What browsers load: our page, noVNC and xterm.js, as files of fixed directories."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from consoleproxy.console_server.request import Request

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_PARTS = 8
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    headers: Mapping[str, str]


class Pages:
    """Files are read once: they are part of the image."""

    def __init__(self, own: Path, others: Mapping[str, Path]) -> None:
        """`others`: directory by the first part of a path."""
        self._own, self._others = own, others
        self._kept: dict[str, Page] = {}

    def find(self, path: str) -> Page | None:
        if path not in self._kept:
            page = self._read(path)
            if page is None:
                return None
            self._kept[path] = page
        return self._kept[path]

    def answer(self, request: Request, path: str, *, policy: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers; `policy` is the Content-Security-Policy."""
        page = self.find(path)
        if page is None:
            return 404, b"", dict(HEADERS)
        if request.headers.get("if-none-match") == page.headers["ETag"]:
            return 304, b"", dict(page.headers)
        body = page.body if request.method == "GET" else b""
        return 200, body, {**page.headers, "Content-Security-Policy": policy}

    def _read(self, path: str) -> Page | None:
        parts = path.strip("/").split("/") if path != "/" else ["index.html"]
        if len(parts) > _PARTS or any(part.startswith(".") or not part for part in parts):
            return None
        base = self._own
        if parts[0] in self._others:
            base = self._others[parts[0]]
            parts = parts[1:]
        file = base.joinpath(*parts)
        kind = _TYPES.get(file.suffix)
        if kind is None or not file.is_file():
            return None
        return _page(file.read_bytes(), kind)


def _page(body: bytes, kind: str) -> Page:
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Page(body, {"Content-Type": kind, "ETag": tag, "Cache-Control": "no-cache", **HEADERS})
