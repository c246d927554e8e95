"""Where browsers come in by TLS: handshakes are counted, which an event loop's own servers don't."""

import asyncio
import socket
import ssl
from collections.abc import Callable

from consoleproxy.console_server.certificates import Shown

HANDSHAKE_SECONDS = 10.0
_MOST_HANDSHAKES = 512
"""At once; the oldest makes room for a new one."""
_MOST_AT_ONCE = 64
_EXHAUSTED_SECONDS = 1.0


class Doorway:
    """Accepts on `listener`, and makes a protocol of each connection whose handshake is done."""

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.BaseProtocol], shown: Shown
    ) -> None:
        self._listener, self._protocol = listener, protocol
        self._context = shown.doorman()
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        self._open()

    def _open(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            except OSError:
                # Out of files: it would be tried again at once, and for ever.
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_EXHAUSTED_SECONDS, self._open)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._handshake(connection))
            self._handshakes[task] = None
            task.add_done_callback(lambda done: self._handshakes.pop(done, None))
            if len(self._handshakes) > _MOST_HANDSHAKES:
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                oldest.cancel()

    async def _handshake(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError):
            # Whoever speaks no TLS, or is shown a certificate that it doesn't like.
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise

    def close(self) -> None:
        """Who has come in stays."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
