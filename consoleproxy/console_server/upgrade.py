"""Requests that become a WebSocket (RFC 6455, section 4.2): whose page asks, and with what token."""

from collections.abc import Set
from urllib.parse import urlsplit

from consoleproxy.console_server import websocket
from consoleproxy.console_server.request import Request

_TOKEN = "sysvm.token."  # noqa: S105  (what is before one)
_KEY_CHARACTERS = 24


def is_ours(request: Request, *, secure: bool, origins: Set[str]) -> bool:
    """Whether the page that asks is one of ours. Who has no Origin is no page, and needs a ticket anyway.

    `secure`: whether it came in TLS of our own; without, a proxy in front may have had that."""
    origin = request.headers.get("origin")
    if origin is None or origin in origins:
        return True
    host = request.headers.get("host", "")
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    schemes = ("https",) if secure else ("http", "https")
    return bool(host) and parts.scheme in schemes and parts.netloc.lower() == host.lower()


def is_wanted(request: Request) -> bool:
    return (
        request.lists("connection", "upgrade")
        and request.lists("upgrade", "websocket")
        and request.headers.get("sec-websocket-version") == "13"
        and len(request.headers.get("sec-websocket-key", "")) == _KEY_CHARACTERS
    )


def token(request: Request) -> str | None:
    """The session's, in a subprotocol of its own: a URL would be kept by logs and the history."""
    tokens = [each.removeprefix(_TOKEN) for each in _offered(request) if each.startswith(_TOKEN)]
    return tokens[0] if len(tokens) == 1 else None


def answer(request: Request) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {websocket.accept(request.headers['sec-websocket-key'])}",
    ]
    if "binary" in _offered(request):
        lines.append("Sec-WebSocket-Protocol: binary")
    return "\r\n".join([*lines, "", ""]).encode()


def _offered(request: Request) -> list[str]:
    return [each.strip() for each in request.headers.get("sec-websocket-protocol", "").split(",")]
