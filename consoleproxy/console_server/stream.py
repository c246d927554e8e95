"""An exchange with a back end before traffic is relayed: so many bytes, and no more than were asked for."""

import asyncio
import ssl
from typing import Protocol, cast

_READ_BYTES = 262_144
_buffer = memoryview(bytearray(_READ_BYTES))
"""What all connections of the process read into, one after the other."""


class Receiver(Protocol):
    """Who takes what a back end says once the exchange is over."""

    def received(self, data: memoryview | bytes) -> None:
        """`data` is good until this returns."""

    def back_end_lost(self) -> None: ...

    def back_end_full(self, full: bool) -> None:
        """Whether what was written waits to be taken."""


class _Reading(asyncio.BufferedProtocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._receiver.received(_buffer[:nbytes])

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver.back_end_lost()

    def pause_writing(self) -> None:
        self._receiver.back_end_full(True)

    def resume_writing(self) -> None:
        self._receiver.back_end_full(False)


class ClosedError(Exception):
    """The other end closed in the middle of something."""


class Exchange(asyncio.Protocol):
    """A connection of which exact numbers of bytes are read. Who takes it over gets what is left unread."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.rest = b""
        self._closed = False
        self._waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of each event loop another class, with the same methods.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.rest += data
        if len(self.rest) > 65_536:
            # Nobody takes so much before it was read: it waits in the kernel.
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        self._wake()

    def eof_received(self) -> bool:
        self._closed = True
        self._wake()
        return False

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _more(self) -> None:
        if self._closed:
            raise ClosedError
        self.transport.resume_reading()
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    async def read(self, count: int) -> bytes:
        """Raises ClosedError."""
        while len(self.rest) < count:
            await self._more()
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    async def read_to(self, end: bytes, most: int) -> bytes:
        """All up to `end` and with it. Raises ClosedError, and ValueError where that is more than `most`."""
        while (at := self.rest.find(end)) < 0:
            if len(self.rest) > most:
                raise ValueError(f"more than {most} bytes")
            await self._more()
        return await self.read(at + len(end))

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def hand_over(self, receiver: Receiver) -> None:
        """All that comes from now on, and what is unread, goes to `receiver`."""
        rest, self.rest = self.rest, b""
        self.transport.set_protocol(_Reading(receiver))
        if rest:
            receiver.received(rest)
        if self._closed:
            receiver.back_end_lost()
        else:
            self.transport.resume_reading()

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Raises ssl.SSLError, OSError, ClosedError."""
        if self.rest:
            raise ClosedError("bytes before the handshake")
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self.transport, self, context, server_hostname=name)
        if transport is None:
            raise ClosedError
        self.transport = transport
