"""A VNC server that does what a test says: it notes what it is sent, and answers with what it is told to."""

import socket
import threading
from collections.abc import Callable

Served = Callable[[socket.socket], None]


class Server:
    """Each connection is `served` in a thread of its own."""

    def __init__(self, served: Served, *, unix: str = "", address: str = "127.0.0.1") -> None:
        self._served = served
        if unix:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(unix)
        else:
            self._listener = socket.socket()
            self._listener.bind((address, 0))
        self._listener.listen(512)
        self.port = 0 if unix else int(self._listener.getsockname()[1])
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._served(connection)
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        received = connection.recv(count - len(found))
        if not received:
            raise ConnectionError
        found += received
    return found


def greet(connection: socket.socket, name: bytes = b"desktop") -> None:
    """RFB 3.8 without a password, up to the ServerInit."""
    connection.sendall(b"RFB 003.008\n")
    exactly(connection, 12)
    connection.sendall(b"\1\1")
    exactly(connection, 1)
    connection.sendall(bytes(4))
    exactly(connection, 1)
    size = (640).to_bytes(2) + (480).to_bytes(2)
    connection.sendall(size + bytes(16) + len(name).to_bytes(4) + name)


class Recorder:
    """Greets, then keeps all that comes, and can say something."""

    def __init__(self, *, address: str = "127.0.0.1") -> None:
        self.received = b""
        self.connections: list[socket.socket] = []
        self.server = Server(self._serve, address=address)
        self.port = self.server.port

    def _serve(self, connection: socket.socket) -> None:
        greet(connection)
        self.connections.append(connection)
        while data := connection.recv(65_536):
            self.received += data
