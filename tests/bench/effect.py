"""How long until something is there for who uses it: asked for every millisecond since it was wanted."""

import socket
import struct
import threading
import time
from collections.abc import Callable

from tests.bench import documents
from tests.bench.inside import inside

_STEP = 0.001
_PATIENCE = 10.0

Probe = Callable[[], bool]


class Watch:
    """Runs a probe in a thread until it finds the effect; `seconds` after `started` it did."""

    def __init__(self, probe: Probe, *, namespace: str) -> None:
        self.seconds: float | None = None
        self._probe, self._namespace = probe, namespace
        self._started = time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> float:
        self._thread.join(_PATIENCE + 1)
        if self.seconds is None:
            raise TimeoutError(f"No effect within {_PATIENCE:g} s")
        return self.seconds

    def _run(self) -> None:
        with inside(self._namespace):
            while time.perf_counter() < self._started + _PATIENCE:
                if self._probe():
                    self.seconds = time.perf_counter() - self._started
                    return
                time.sleep(_STEP)


def connects(address: str, port: int) -> Probe:
    """A TCP connection is accepted."""

    def probe() -> bool:
        with socket.socket() as client:
            client.settimeout(0.01)
            try:
                client.connect((address, port))
            except OSError:
                return False
            return True

    return probe


def resolves(name: str, address: str, *, server: str = documents.GATEWAY) -> Probe:
    """A DNS server has an A record (RFC 1035) of this name and address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!HHHHHH", 0x6263, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"

    def probe() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.05)
            try:
                client.sendto(query, (server, 53))
                return client.recv(512).endswith(socket.inet_aton(address))
            except OSError:
                return False

    return probe


def is_told(instance: str) -> Probe:
    """A guest gets its own metadata."""
    request = f"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: {documents.GATEWAY}\r\n\r\n".encode()

    def probe() -> bool:
        with socket.socket() as client:
            client.settimeout(0.1)
            try:
                client.connect((documents.GATEWAY, 80))
                client.send(request)
                return client.recv(4096).endswith(instance.encode())
            except OSError:
                return False

    return probe
