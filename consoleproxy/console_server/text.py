"""Text consoles: a serial port has one client, and that is us; viewers share it.

The last of what a guest wrote is kept while anybody has a session, so that a viewer who comes back, or a
second one, sees the screen as it is.
"""

import asyncio
import contextlib
import re
from collections import deque

from consoleproxy.console_server.back_end import BackEndError, connect
from consoleproxy.console_server.settings import Console
from consoleproxy.console_server.stream import Exchange

_KEPT_BYTES = 65_536
_QUESTIONS = re.compile(
    rb"\x05|\x1b\[[?>=]?[0-9;]*[cn]|\x1b\[[?0-9;]*\$p|\x1bZ|\x1b\][0-9;]*;\?(?:\x07|\x1b\\)"
)
"""What a terminal answers (ECMA-48 and xterm's): who it is, where its cursor is, which colours it has."""
_BEHIND_BYTES = 262_144
"""A viewer who is so far behind is dropped: nobody else waits for them."""


class TextPort:
    """One guest's port, and who looks at it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._kept: deque[bytes] = deque()
        self._size = 0
        self.viewers: set[asyncio.StreamWriter] = set()
        self.is_open = True
        self._room = asyncio.Event()
        self._room.set()
        exchange.hand_over(self)

    def received(self, data: memoryview | bytes) -> None:
        data = bytes(data)
        self._kept.append(data)
        self._size += len(data)
        while self._size > _KEPT_BYTES and len(self._kept) > 1:
            self._size -= len(self._kept.popleft())
        for viewer in list(self.viewers):
            if viewer.transport.get_write_buffer_size() > _BEHIND_BYTES:
                viewer.transport.abort()
            else:
                viewer.write(data)

    def back_end_full(self, full: bool) -> None:
        if full:
            self._room.clear()
        else:
            self._room.set()

    def back_end_lost(self) -> None:
        self.is_open = False
        self._room.set()
        for viewer in self.viewers:
            viewer.close()

    async def write(self, data: bytes) -> None:
        await self._room.wait()
        self._exchange.write(data)

    def look(self, viewer: asyncio.StreamWriter) -> None:
        """What was asked of the terminal isn't asked again: each viewer's answer would be typed."""
        viewer.write(_QUESTIONS.sub(b"", b"".join(self._kept)[-_KEPT_BYTES:]))
        self.viewers.add(viewer)

    def close(self) -> None:
        self._exchange.transport.close()


class TextConsoles:
    def __init__(self) -> None:
        self._ports: dict[str, TextPort] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    async def attach(
        self, console: Console, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One viewer of a console, until either end has had enough. The first line that is answered says
        whether the console could be reached."""
        try:
            port = await self._port(console)
        except BackEndError as error:
            writer.write(f"{error.code}\n".encode())
            writer.close()
            return
        writer.write(b"ok\n")
        port.look(writer)
        try:
            while port.is_open and (data := await reader.read(4096)):
                await port.write(data)
        except OSError:
            pass
        finally:
            port.viewers.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _port(self, console: Console) -> TextPort:
        async with self._opening.setdefault(console.name, asyncio.Lock()):
            port = self._ports.get(console.name)
            if port is None or not port.is_open:
                port = self._ports[console.name] = TextPort(await connect(console))
            return port

    def keep(self, console: str, wanted: bool) -> None:
        """The port of a console that nobody has a session of is let go."""
        if not wanted and (port := self._ports.pop(console, None)) is not None:
            port.close()
