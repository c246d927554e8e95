"""Servers in other network namespaces that say who asked them, as threads of the test's process."""

import contextlib
import socket
import threading

_PACKET_INFO = 8  # IP_PKTINFO, ip(7)


class Server:
    """Answers each connection or datagram with "SERVER:PORT saw CLIENT:PORT"; keeps what it is sent."""

    def __init__(self, place: str, port: int, listening: socket.socket, *, udp: bool) -> None:
        self.place, self.port, self.udp = place, port, udp
        self.received, self.family = 0, listening.family
        self._socket = listening
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("" if listening.family == socket.AF_INET else "::", port))
        if udp:
            self._socket.setsockopt(socket.IPPROTO_IP, _PACKET_INFO, 1)
        else:
            self._socket.listen(128)
        threading.Thread(target=self._datagrams if udp else self._connections, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                _, extra, _, peer = self._socket.recvmsg(65536, 100)
                if peer is None:
                    return  # closed
                # From the address that was asked, whichever of its own that is.
                answer = f"{self.place}:{self.port} saw {peer[0]}".encode()
                self._socket.sendmsg([answer], extra, 0, peer)

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
