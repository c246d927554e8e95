"""Consoles: each has one way to it."""

from collections.abc import Iterator

from appliance import certificate
from appliance.memo import per_key
from appliance.model import Problem, pointer
from consoleproxy.document import Console, ConsoleproxyDocument


def problems(document: ConsoleproxyDocument) -> Iterator[Problem]:
    for found in filter(None, _consoles(document.consoles).values()):
        yield from found


@per_key
def _consoles(name: str, console: Console) -> tuple[Problem, ...]:
    return tuple(
        Problem(pointer("consoles", name, *field), f"Console {name}: {sentence}")
        for field, sentence in _sentences(console)
    )


def _sentences(console: Console) -> Iterator[tuple[tuple[str, ...], str]]:
    by_address = console.address is not None
    if by_address == (console.socket is not None):
        yield (), "it needs an address with its port, or a socket in place of both"
    elif by_address != (console.port is not None):
        yield (("port",) if by_address else ("socket",)), "address and port belong together"
    if console.socket is not None and (console.transport != "plain" or console.tls is not None):
        yield ("socket",), "what is on this machine is plain"
    carried = console.transport in ("connect", "websocket")
    if carried is not (console.path is not None):
        yield ("path",), "a tunnel or a WebSocket has a path, and nothing else has"
    if console.path is not None and not _is_target(console.path.get_secret_value()):
        yield ("path",), "it must begin with / and have neither spaces nor anything but ASCII"
    if console.cookie is not None and not (carried and console.cookie.get_secret_value().isascii()):
        yield ("cookie",), "a tunnel or a WebSocket may have one, in ASCII"
    if console.transport == "tls" and console.tls is None:
        yield ("tls",), "without an authority nothing can be verified"
    if console.tls is not None and console.kind == "text" and console.transport == "plain":
        yield ("transport",), "a text console in TLS is of transport tls"
    if console.user is not None and (console.password is None or console.tls is None):
        yield ("user",), "a user is X509Plain's, which needs a password and tls"
    if console.tls is not None and not certificate.parsed(console.tls.authority):
        yield ("tls", "authority"), "there is no certificate in PEM (RFC 7468)"


def _is_target(path: str) -> bool:
    return path.startswith("/") and path.isascii() and " " not in path
