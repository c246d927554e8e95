"""The way to a console: a connection that carries nothing yet but what the console itself will say."""

import asyncio
import contextlib
from collections.abc import Mapping

from consoleproxy.console_server import websocket
from consoleproxy.console_server.rfb import Credentials, RfbError, open_server
from consoleproxy.console_server.settings import Console
from consoleproxy.console_server.stream import ClosedError, Exchange, Receiver

CONNECT_SECONDS = 10.0
"""For the connection and all that is said before the first picture."""
_MOST_HEAD = 16_384


class BackEndError(Exception):
    """A console that can't be reached. `code` is a word for the page; the text is for the log."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class WebSocketExchange(Exchange):
    """The bytes inside a WebSocket that we are the client of."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = websocket.Frames(masked=False, most=1 << 26)
        self.upgraded = False
        self._receiver: Receiver | None = None

    def data_received(self, data: bytes) -> None:
        if not self.upgraded:
            super().data_received(data)
            return
        try:
            for opcode, payload in self.frames.feed(data):
                if opcode == websocket.PING:
                    self.transport.write(websocket.frame(websocket.PONG, payload, masked=True))
                elif opcode == websocket.CLOSE:
                    self.transport.close()
                elif opcode in (websocket.BINARY, websocket.TEXT):
                    self._inner(payload)
        except websocket.FrameError:
            self.transport.abort()

    def _inner(self, payload: bytes) -> None:
        if self._receiver is not None:
            self._receiver.received(payload)
        else:
            super().data_received(payload)

    def hand_over(self, receiver: Receiver) -> None:
        self._receiver = receiver
        rest, self.rest = self.rest, b""
        if rest:
            receiver.received(rest)
        if self._closed:
            receiver.back_end_lost()
        else:
            self.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._receiver is not None:
            self._receiver.back_end_lost()

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.back_end_full(True)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.back_end_full(False)

    def write(self, data: bytes) -> None:
        self.transport.write(websocket.frame(websocket.BINARY, data, masked=True) if self.upgraded else data)


async def connect(console: Console) -> Exchange:
    """A connection to a console; for VNC, with the handshake behind it. Raises BackEndError."""
    if not console.available:
        raise BackEndError("guest-off", "the document says that the guest is off")
    made: list[Exchange] = []
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            exchange = await _connected(console, made)
            if console.kind == "vnc":
                plain = console.transport == "plain"
                credentials = Credentials(
                    user=console.user,
                    password=console.password,
                    tls=console.tls if plain else None,
                    tls_name=console.tls_name,
                )
                await open_server(exchange, credentials)
            return exchange
    except asyncio.CancelledError:
        _abort(made)
        raise
    except (ConnectionRefusedError, FileNotFoundError) as error:
        code, text = "guest-off", str(error)
    except TimeoutError:
        code, text = "console-timeout", f"no answer in {CONNECT_SECONDS:g} s"
    except RfbError as error:
        code, text = "console-refused", str(error)
    except ClosedError:
        code, text = "console-closed", "the server closed the connection in the handshake"
    except (OSError, ValueError) as error:
        code, text = "console-unreachable", str(error)
    _abort(made)
    raise BackEndError(code, text)


def _abort(made: list[Exchange]) -> None:
    for exchange in made:
        with contextlib.suppress(AttributeError):
            exchange.transport.abort()


async def _connected(console: Console, made: list[Exchange]) -> Exchange:
    loop = asyncio.get_running_loop()

    def protocol() -> Exchange:
        made.append(WebSocketExchange() if console.transport == "websocket" else Exchange())
        return made[-1]

    if console.socket:
        _, exchange = await loop.create_unix_connection(protocol, console.socket)
        return exchange
    # VNC's own TLS begins inside of RFB.
    outer = console.tls if console.transport != "plain" else None
    _, exchange = await loop.create_connection(
        protocol,
        console.host,
        console.port,
        ssl=outer,
        server_hostname=console.tls_name if outer is not None else None,
    )
    if console.transport == "connect":
        await _tunnel(exchange, console)
    elif isinstance(exchange, WebSocketExchange):
        await _upgrade(exchange, console)
    return exchange


async def _head(exchange: Exchange) -> tuple[int, Mapping[str, str]]:
    """Status and headers of an answer. Raises ValueError."""
    head = (await exchange.read_to(b"\r\n\r\n", _MOST_HEAD)).decode("latin-1").split("\r\n")
    version, _, status = head[0].partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise ValueError("the server doesn't speak HTTP")
    pairs = (line.partition(":") for line in head[1:] if line)
    return int(status[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _tunnel(exchange: Exchange, console: Console) -> None:
    """A XenServer's console: CONNECT, with the session as a header, and RFB behind the answer."""
    lines = [f"CONNECT {console.path} HTTP/1.0", f"Host: {console.host}"]
    lines += [f"{name}: {value}" for name, value in console.headers.items()]
    exchange.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    status, _ = await _head(exchange)
    if status != 200:
        raise RfbError(f"the tunnel was refused with status {status}")


async def _upgrade(exchange: WebSocketExchange, console: Console) -> None:
    """A WebSocket (RFC 6455, section 4.1): VMware's `/ticket/...`, Proxmox, another proxy."""
    key = websocket.new_key()
    lines = [
        f"GET {console.path} HTTP/1.1",
        f"Host: {console.host}:{console.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: binary",
    ]
    lines += [f"{name}: {value}" for name, value in console.headers.items()]
    exchange.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    status, headers = await _head(exchange)
    if status != 101 or headers.get("sec-websocket-accept") != websocket.accept(key):
        raise RfbError(f"the WebSocket was refused with status {status}")
    early, exchange.rest = exchange.rest, b""
    exchange.upgraded = True
    if early:
        exchange.data_received(early)
