"""A time server of stratum 1 that may be wrong by any amount (RFC 4330, section 5)."""

import contextlib
import socket
import struct
import threading
import time

PORT = 123
_SINCE_1900 = 2_208_988_800


class TimeServer:
    """Answers on a bound socket until it is closed."""

    def __init__(self, listening: socket.socket, *, ahead: float = 0.0) -> None:
        listening.settimeout(None)
        self.ahead = ahead
        """Seconds that it is ahead of this machine."""
        self.asked = 0
        self._socket = listening
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # Closing alone doesn't wake who waits.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(512)
                if client is None:
                    return  # shut down
                self.asked += 1
                now = time.time() + self.ahead + _SINCE_1900
                stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
                head = struct.pack("!BBbb", 4 << 3 | 4, 1, 6, -20) + bytes(8) + b"TEST"
                self._socket.sendto(head + stamp + question[40:48] + stamp + stamp, client)
            except OSError:
                return  # closed
