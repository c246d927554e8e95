"""Servers in other network namespaces that say who asked them, as threads of the test's process."""

import contextlib
import socket
import threading


class Server:
    """Answers each connection or datagram with "SERVER:PORT saw CLIENT:PORT"; keeps what it is sent."""

    def __init__(self, place: str, port: int, listening: socket.socket, *, udp: bool) -> None:
        self.place, self.port, self.udp = place, port, udp
        self.received = 0
        self._socket = listening
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("0.0.0.0", port))
        if not udp:
            self._socket.listen(128)
        threading.Thread(target=self._datagrams if udp else self._connections, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                _, peer = self._socket.recvfrom(65536)
                self._socket.sendto(f"{self.place}:{self.port} saw {peer[0]}".encode(), peer)

    def _connections(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, peer = self._socket.accept()
                threading.Thread(target=self._serve, args=(connected, peer[0]), daemon=True).start()

    def _serve(self, connected: socket.socket, peer: str) -> None:
        with connected, contextlib.suppress(OSError):
            while content := connected.recv(65536):
                self.received += len(content)
                if content[-1:] == b"?":
                    connected.sendall(f"{self.place}:{self.port} saw {peer}".encode())
