"""A browser's connection: requests for pages, a ticket, and then a WebSocket with a console behind it."""

import asyncio
import json
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from consoleproxy.console_server import request as http
from consoleproxy.console_server import upgrade, websocket
from consoleproxy.console_server.client_messages import ClientMessages
from consoleproxy.console_server.pages import HEADERS
from consoleproxy.console_server.request import Request, RequestError
from consoleproxy.console_server.rfb import SHARED_INIT, RfbError, ViewerHandshake
from consoleproxy.console_server.server_messages import MessageError, ServerMessages
from consoleproxy.console_server.stream import Exchange

if TYPE_CHECKING:
    from consoleproxy.console_server.relay import Relay

REQUEST_SECONDS = 10.0
"""For a request to come, and for a viewer's part of the handshake."""
CLOSING_SECONDS = 5.0
"""For a viewer's answer to our close frame."""
STALLED_SECONDS = 60.0
"""A viewer who takes nothing of what waits for so long is gone."""
_PING_SECONDS = 25.0
_DEAD_SECONDS = 75.0
_MOST_FRAME = 2 << 20
_MOST_COMMAND = 1024
_HIGH_WATER, _LOW_WATER = 262_144, 65_536
_CODES = {"kicked": 4001, "idle": 4002, "session-over": 4003, "session-unknown": 4004}
_OTHER_CODE = 4000


class Browser(asyncio.Protocol):
    """Rights are what the desk says; they are asked for at each message."""

    __slots__ = (
        "_back_end",
        "_buffer",
        "_client",
        "_deadline",
        "_frames",
        "_greeted",
        "_heard",
        "_kind",
        "_measured",
        "_messages",
        "_opening",
        "_pinged",
        "_relay",
        "_secure",
        "_stalled",
        "_transport",
        "_waiting",
        "active",
        "connection",
        "from_viewer",
        "is_over",
        "rights",
        "session",
        "to_viewer",
    )

    def __init__(self, relay: "Relay", *, secure: bool) -> None:
        self._relay = relay
        self._secure = secure
        self._buffer = b""
        self._frames: websocket.Frames | None = None
        self._greeted: ViewerHandshake | None = None
        self._messages: ClientMessages | None = None
        self._measured: ServerMessages | None = None
        self._back_end: Exchange | None = None
        self._opening: asyncio.Task[None] | None = None
        self._kind = ""
        self._waiting = False
        self._stalled: tuple[float, int] | None = None
        self._pinged = 0.0
        self.session = ""
        self.connection = 0
        """How many have entered the session up to this one."""
        self.is_over = False
        self.rights: frozenset[str] = frozenset()
        self.to_viewer = 0
        self.from_viewer = 0
        self.active = False

    # Of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of each event loop another class, with the same methods.
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else "?"
        self._heard = monotonic()
        self._deadline: float | None = self._heard + REQUEST_SECONDS
        self._transport.set_write_buffer_limits(high=_HIGH_WATER, low=_LOW_WATER)
        self._relay.came(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_over = True
        if self._opening is not None:
            self._opening.cancel()
        if self._back_end is not None:
            self._back_end.transport.abort()
        self._relay.went(self)

    def data_received(self, data: bytes) -> None:
        if self.is_over:
            self._closed(data)
            return
        self._heard = monotonic()
        if self._frames is None:
            self._buffer += data
            self._requests()
            return
        try:
            for opcode, payload in self._frames.feed(data):
                if not self.is_over or opcode == websocket.CLOSE:
                    self._frame(opcode, payload)
        except websocket.FrameError as error:
            self._bye(error.code, str(error))
        except (MessageError, RfbError) as error:
            self._relay.note(f"{self.session}: {error}")
            self._bye(1008, "protocol")

    def pause_writing(self) -> None:
        self._stalled = monotonic(), self._transport.get_write_buffer_size()
        if self._back_end is not None:
            self._back_end.transport.pause_reading()

    def resume_writing(self) -> None:
        self._stalled = None
        if self._back_end is not None:
            self._back_end.transport.resume_reading()

    def tick(self, now: float) -> None:
        """Called each second: what was waited for too long isn't any longer."""
        if self._deadline is not None and now > self._deadline:
            self._transport.abort()
        elif self._frames is None:
            return
        elif now - self._heard > _DEAD_SECONDS:
            self._transport.abort()
        elif now - max(self._heard, self._pinged) > _PING_SECONDS:
            self._pinged = now
            self._transport.write(websocket.frame(websocket.PING, b""))
        if self._stalled is not None:
            since, size = self._stalled
            left = self._transport.get_write_buffer_size()
            if left != size:
                self._stalled = now, left
            elif now - since > STALLED_SECONDS:
                self._transport.abort()

    # Requests

    def _requests(self) -> None:
        while self._buffer and not self._waiting and self._frames is None:
            try:
                found = http.read(self._buffer)
            except RequestError as error:
                self._answer(error.status, b"", keep=False)
                return
            if found is None:
                return
            request, self._buffer = found
            self._deadline = monotonic() + REQUEST_SECONDS
            self._request(request)
        if len(self._buffer) > http.MOST_HEAD + http.MOST_BODY:
            self._transport.abort()

    def _request(self, request: Request) -> None:
        path = request.path
        prefix = self._relay.settings.path
        if prefix and path.startswith(f"{prefix}/"):
            path = path[len(prefix) :]
        match (request.method, path):
            case ("POST", "/v1/sessions") if self._welcome(request):
                self._later(self._trade(request))
            case ("GET", "/v1/connect") if self._welcome(request):
                self._upgrade(request)
            case (_, "/v1/sessions" | "/v1/connect"):
                self._answer(403 if request.method in ("GET", "POST") else 405, b"", keep=False)
            case ("GET" | "HEAD", _):
                status, body, more = self._relay.pages.answer(request, path, policy=self._relay.policy)
                self._answer(status, body, keep=True, more=more)
            case _:
                self._answer(405, b"", keep=False)

    def _answer(self, status: int, body: bytes, *, keep: bool, more: dict[str, str] | None = None) -> None:
        self._transport.write(http.response(status, body, more or dict(HEADERS), keep=keep))
        if not keep:
            self._transport.close()

    def _json(self, status: int, value: object) -> None:
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **HEADERS}
        self._answer(status, json.dumps(value).encode(), keep=True, more=headers)

    def _later(self, work: Any) -> None:
        self._waiting = True
        self._opening = asyncio.get_running_loop().create_task(work)

    def _welcome(self, request: Request) -> bool:
        return upgrade.is_ours(request, secure=self._secure, origins=self._relay.settings.origins)

    def client(self, request: Request) -> str:
        """The browser's address; a proxy in front that the document names may say whose."""
        return self._relay.client(self._client, request.headers.get("x-forwarded-for", ""))

    async def _trade(self, request: Request) -> None:
        try:
            ticket = json.loads(request.body)["ticket"]
            if not isinstance(ticket, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            self._json(400, {"error": "ticket-invalid"})
        else:
            answer = await self._relay.ask(do="trade", ticket=ticket, client=self.client(request))
            self._json(403 if "error" in answer else 200, answer)
        self._waiting = False
        self._opening = None
        self._requests()

    # The WebSocket

    def _upgrade(self, request: Request) -> None:
        token = upgrade.token(request)
        if not upgrade.is_wanted(request):
            self._answer(426, b"", keep=False, more={"Upgrade": "websocket", **HEADERS})
        elif token is None:
            self._answer(403, b"", keep=False)
        else:
            self._transport.write(upgrade.answer(request))
            self._frames = websocket.Frames(masked=True, most=_MOST_FRAME)
            # Until the console is open nothing more is read: it waits in the kernel.
            self._transport.pause_reading()
            self._later(self._open(token, self.client(request)))

    async def _open(self, token: str, client: str) -> None:
        """The desk's word, and the console. Why not, the page is told by the close frame."""
        answer = await self._relay.enter(self, token, client)
        if "error" in answer:
            self._bye(_CODES.get(answer["error"], _OTHER_CODE), answer["error"])
            return
        if self.is_over:
            return
        self.viewed(answer)
        self._deadline = None
        found = await self._relay.console(answer["console"])
        if isinstance(found, str):
            self._relay.over(self, found)
            self._bye(_OTHER_CODE, found)
        elif self.is_over:
            found[0].transport.abort()
        else:
            self._opened(*found)

    def _opened(self, back_end: Exchange, kind: str) -> None:
        self._back_end, self._kind, self._waiting = back_end, kind, False
        if kind == "vnc":
            self._greeted = ViewerHandshake()
            self._deadline = monotonic() + REQUEST_SECONDS
            self._send(self._greeted.greeting)
        else:
            back_end.hand_over(self)
        self._transport.resume_reading()
        if self._buffer:
            early, self._buffer = self._buffer, b""
            self.data_received(early)

    def viewed(self, view: dict[str, Any]) -> None:
        """What the desk says of the session; the page is told."""
        rights = frozenset(view["rights"])
        self.rights = rights if view["controls"] else rights - {"control"}
        told = {name: value for name, value in view.items() if name not in ("do", "id", "console")}
        self._transport.write(websocket.frame(websocket.TEXT, json.dumps(told).encode()))

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == websocket.BINARY:
            self.from_viewer += len(payload)
            if self._greeted is not None:
                self._greet(self._greeted, payload)
            else:
                self._pass(payload)
        elif opcode == websocket.TEXT:
            self._command(payload)
        elif opcode == websocket.PING:
            self._transport.write(websocket.frame(websocket.PONG, payload))
        elif opcode == websocket.CLOSE:
            self._relay.over(self, "closed", keep=payload[:2] != b"\x03\xe8")
            self._bye(1000, "")
            self._transport.close()

    def _greet(self, handshake: ViewerHandshake, payload: bytes) -> None:
        if answer := handshake.feed(payload):
            self._send(answer)
        if handshake.done:
            self._greeted, self._deadline = None, None
            if "clipboard" not in self.rights:
                self._measured = ServerMessages()
            self._messages = ClientMessages(lambda: self.rights, self._measured)
            if self._back_end is not None:
                self._back_end.write(SHARED_INIT)
                self._back_end.hand_over(self)
            if handshake.rest:
                self._pass(handshake.rest)

    def _pass(self, payload: bytes) -> None:
        back_end = self._back_end
        if back_end is None:
            raise RfbError("bytes before the console is open")
        if self._messages is not None:
            payload = self._messages.feed(payload)
            if self._messages.active:
                self.active, self._messages.active = True, False
        elif "control" not in self.rights:
            return
        else:
            self.active = True
        if payload:
            back_end.write(payload)

    def _command(self, payload: bytes) -> None:
        try:
            if len(payload) > _MOST_COMMAND:
                raise ValueError
            command = json.loads(payload)
            word = command["do"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise websocket.FrameError(1008, "no command") from None
        if word == "ping":
            self._transport.write(websocket.frame(websocket.TEXT, b'{"pong": true}'))
        elif word in ("ask", "give", "refuse"):
            self._relay.command(self, {"do": word})
        else:
            raise websocket.FrameError(1008, "no command")

    # From the console

    def received(self, data: memoryview | bytes) -> None:
        self.to_viewer += len(data)
        self.active = True
        if self._measured is not None:
            try:
                data = self._measured.feed(data)
            except MessageError as error:
                self._relay.note(f"{self.session}: {error}")
                self._relay.over(self, "console-refused")
                self._bye(_OTHER_CODE, "console-refused")
                return
        self._send(data)

    def _send(self, data: memoryview | bytes) -> None:
        if not data:
            return
        self._transport.write(b"".join((websocket.header(websocket.BINARY, len(data)), data)))

    def back_end_lost(self) -> None:
        self._back_end = None
        self._relay.over(self, "console-closed", keep=True)
        self._bye(_OTHER_CODE, "console-closed")

    def back_end_full(self, full: bool) -> None:
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def end(self, code: str) -> None:
        """The desk has ended the session."""
        self._bye(_CODES.get(code, _OTHER_CODE), code)

    def drop(self) -> None:
        self._transport.abort()

    def _bye(self, code: int, reason: str) -> None:
        """Begins the closing handshake (RFC 6455, section 7.1.1). A socket that is closed before the answer
        has come is reset by whatever was still on its way, and a browser that is reset doesn't tell its page
        the reason."""
        if self.is_over or self._transport.is_closing():
            return
        self.is_over = True
        self._transport.write(websocket.close(code, reason))
        self._relay.over(self, "gone", keep=True)
        if self._back_end is not None:
            self._back_end.transport.abort()
            self._back_end = None
        self._deadline = monotonic() + CLOSING_SECONDS
        self._transport.resume_reading()

    def _closed(self, data: bytes) -> None:
        """What a viewer sends once we have closed: nothing of it counts but its own close frame."""
        try:
            frames = self._frames.feed(data) if self._frames is not None else iter(())
            if any(opcode == websocket.CLOSE for opcode, _ in frames):
                self._transport.close()
        except websocket.FrameError:
            self._frames = None
