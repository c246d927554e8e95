"""Long-lived flows through a router, and what each lost: datagrams, a connection, pings."""

import contextlib
import socket
import subprocess
import threading
import time
from itertools import pairwise
from types import TracebackType
from typing import Self

from router_lab import Client

from appliance.runtime import namespace

_GRACE = 10.0


class Echo:
    """Sends back what it gets, behind the address and port that it came from."""

    def __init__(self, client: Client, port: int, *, udp: bool, address: str = "0.0.0.0") -> None:
        self._udp = udp
        self._socket = client.socket(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        if not udp:
            self._socket.listen(16)
        threading.Thread(target=self._datagrams if udp else self._connections, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                content, peer = self._socket.recvfrom(2048)
                if peer is None:  # The socket was shut down.
                    return
                self._socket.sendto(f"{peer[0]}:{peer[1]} ".encode() + content, peer)

    def _connections(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, peer = self._socket.accept()
                threading.Thread(target=self._serve, args=(connected, peer), daemon=True).start()

    def _serve(self, connected: socket.socket, peer: tuple[str, int]) -> None:
        with contextlib.suppress(OSError), connected, connected.makefile("rb") as lines:
            for line in lines:
                connected.sendall(f"{peer[0]}:{peer[1]} ".encode() + line)


class Flow:
    """One message every `interval` seconds; when each was sent and answered, and whom the far end saw."""

    def __init__(
        self, client: Client, address: str, port: int, *, udp: bool, interval: float = 0.01, source: int = 0,
        own: str = "",
    ) -> None:  # fmt: skip
        self.udp = udp
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self.seen: set[str] = set()
        self.error: OSError | None = None
        self._interval = interval
        self._socket = client.socket(socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self._socket.settimeout(5)
        if source or own:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((own, source))
        self._socket.connect((address, port))
        self._socket.settimeout(None)
        if not udp:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stop, self._closed = threading.Event(), threading.Event()
        self._sender, self._receiver = (
            threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)
        )

    def __enter__(self) -> Self:
        self._receiver.start()
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, *, grace: float | None = None) -> None:
        """Send no more, and wait for what is on its way: a connection's bytes come, a datagram may not."""
        if not self._stop.is_set():
            self._stop.set()
            self._sender.join(_GRACE)
            deadline = time.monotonic() + (grace or (1.0 if self.udp else _GRACE))
            while len(self.answered) < len(self.sent) and time.monotonic() < deadline and not self.error:
                time.sleep(0.01)
            self._closed.set()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    @property
    def lost(self) -> int:
        return len(self.sent.keys() - self.answered.keys())

    def answered_after(self, moment: float) -> float | None:
        """Seconds from a moment on to the first answer to what was sent after it."""
        times = [self.answered[number] for number, at in list(self.sent.items())
                 if at >= moment and number in self.answered]  # fmt: skip
        return min(times) - moment if times else None

    @property
    def longest_silence(self) -> float:
        """Seconds between two answers, at most."""
        times = sorted(self.answered.values())
        return max(after - before for before, after in pairwise(times))

    def _send(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.is_set():
            number += 1
            self.sent[number] = time.monotonic()
            try:
                self._socket.send(f"{number}\n".encode())
            except OSError as error:
                if self._ends(error, self._stop):
                    return
            due += self._interval
            time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self) -> None:
        rest = b""
        while not self._closed.is_set():
            try:
                content = self._socket.recv(65536)
            except OSError as error:
                if self._ends(error, self._closed):
                    return
                continue
            if not content and not self.udp:
                self._ends(ConnectionResetError("closed by the far end"), self._closed)
                return
            *lines, rest = (rest + content).split(b"\n")
            for line in lines:
                peer, _, number = line.decode().partition(" ")
                self.seen.add(peer)
                self.answered.setdefault(int(number), time.monotonic())

    def _ends(self, error: OSError, wanted: threading.Event) -> bool:
        """A datagram socket is told of an unreachable network, and goes on; a connection is broken."""
        if self.udp:
            return wanted.is_set()
        if not wanted.is_set():
            self.error = error
        return True


class Pings:
    """ping(8) at 50 a second, one identifier all along."""

    def __init__(self, client: Client, address: str) -> None:
        argv = ["ping", "-n", "-q", "-i", "0.02", address]
        self._process = subprocess.Popen(
            namespace.entering(client.full, argv), stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> tuple[int, int]:
        """Sent, and answered."""
        self._process.send_signal(2)
        said = self._process.communicate(timeout=10)[0]
        words = next(line for line in said.splitlines() if "packets transmitted" in line).split()
        return int(words[0]), int(words[3])
