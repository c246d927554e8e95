"""Senders and receivers in the lab's namespaces, as threads of the test's process: who gets how much."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from router_lab import Client

_PIECE = bytes(1 << 16)


@dataclass
class Transfer:
    """A TCP connection that one end fills as fast as it can; `received` counts at the other."""

    sending: socket.socket
    receiving: socket.socket
    received: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        for each in (self.sending, self.receiving):
            each.settimeout(20)
        threading.Thread(target=self._send, daemon=True).start()
        threading.Thread(target=self._receive, daemon=True).start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while not self.ended.is_set():
                self.sending.send(_PIECE)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while content := self.receiving.recv(1 << 18):
                self.received += len(content)
        self.ended.set()

    def rate(self, seconds: float) -> float:
        """Bytes per second over the next so many."""
        before, begun = self.received, time.monotonic()
        time.sleep(seconds)
        return (self.received - before) / (time.monotonic() - begun)

    @property
    def sent_again(self) -> int:
        """Segments that TCP had to send more than once so far."""
        return sent_again(self.sending)

    def close(self) -> None:
        self.ended.set()
        for each in (self.sending, self.receiving):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def sent_again(sending: socket.socket) -> int:
    # tcp(7), TCP_INFO: tcpi_total_retrans, behind eight bytes and 23 numbers.
    told = sending.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    number: int = struct.unpack_from("=I", told, 8 + 23 * 4)[0]
    return number


@contextmanager
def connected(
    client: Client, address: str, port: int, server: Client, server_port: int | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection from one to the other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with server.socket(family=family) as door, client.socket(family=family) as here:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((address, server_port or port))
        except OSError:
            # It is translated on the way.
            door.bind(("", server_port or port))
        door.listen()
        door.settimeout(5)
        here.settimeout(5)
        here.connect((address, port))
        there, _ = door.accept()
        # So that another one may be to the same port.
        door.close()
        with there:
            yield here, there


def told(sending: socket.socket, receiving: socket.socket) -> bool:
    """Whether what one end says comes to the other."""
    try:
        receiving.settimeout(3)
        sending.sendall(b"x")
        return receiving.recv(1) == b"x"
    except OSError:
        return False


def silent(sending: socket.socket, receiving: socket.socket) -> bool:
    """Whether it doesn't, though TCP tries again meanwhile."""
    try:
        receiving.settimeout(1.5)
        sending.sendall(b"x")
        return receiving.recv(1) == b""
    except OSError:
        return True


@contextmanager
def transfer(
    client: Client, address: str, port: int, server: Client, *, back: bool = False,
    server_port: int | None = None,
) -> Iterator[Transfer]:  # fmt: skip
    """The client sends to the server, or `back` the server to the client."""
    with connected(client, address, port, server, server_port) as (here, there):
        running = Transfer(there, here) if back else Transfer(here, there)
        try:
            yield running
        finally:
            running.close()


@contextmanager
def flood(client: Client, address: str, port: int, content: bytes, *, ports: int = 1) -> Iterator[list[int]]:
    """Datagrams as fast as they go, from so many ports in turn; the list's one number is how many."""
    count, ended = [0], threading.Event()
    sockets = [client.socket(socket.SOCK_DGRAM) for _ in range(ports)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        each.connect((address, port))
        each.setblocking(False)

    def run() -> None:
        while not ended.is_set():
            for each in sockets:
                # Full buffers, and what comes back of errors, are no reason to stop.
                with contextlib.suppress(OSError):
                    each.send(content)
                    count[0] += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        ended.set()
        thread.join()
        for each in sockets:
            each.close()
