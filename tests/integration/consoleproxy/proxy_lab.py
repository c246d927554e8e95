"""A console proxy on loopback: the daemon as the image has it, a client of its WebSocket, and tickets."""

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consoleproxy.console_server import ticket as tickets
from consoleproxy.console_server import websocket

PATIENCE = 30.0
NAME = "console1"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Proxy:
    def __init__(self, directory: Path, *, relays: int = 2) -> None:
        self.directory = directory
        self.key = Ed25519PrivateKey.generate()
        self.port = free_port()
        self.log = directory / "log"
        self.config: dict[str, Any] = {
            "name": NAME,
            "issuers": {"main": base64.b64encode(self.key.public_key().public_bytes_raw()).decode()},
            "listen": [{"address": "127.0.0.1", "port": self.port, "tls": False}],
            "consoles": {},
        }
        self._relays = relays
        self._process: subprocess.Popen[bytes] | None = None
        self._nonce = 0

    def write(self, **changes: Any) -> None:
        self.config |= changes
        partial = self.directory / ".config.json"
        partial.write_text(json.dumps(self.config))
        partial.rename(self.directory / "config.json")
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def start(self, *more: str) -> None:
        self.write()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "consoleproxy.console_server",
                "--relays",
                str(self._relays),
                "--config",
                str(self.directory / "config.json"),
                "--runtime-directory",
                str(self.directory),
                *more,
            ],
            stderr=self.log.open("ab"),
        )
        until(lambda: self.control("GET", "/health").get("relays") == list(range(self._relays)))
        until(self._accepts)

    def _accepts(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def parts(self) -> dict[str, int]:
        """Process number by part: `desk`, `0`, `1`."""
        assert self._process is not None
        found = {}
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for number in children.split():
            arguments = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            found[arguments[arguments.index(b"--part") + 1].decode()] = int(number)
        return found

    def kill(self, part: str) -> None:
        os.kill(self.parts()[part], signal.SIGKILL)

    def control(self, method: str, path: str) -> dict[str, Any]:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(PATIENCE)
            asked.connect(str(self.directory / "control.sock"))
            asked.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b"".join(iter(lambda: asked.recv(65_536), b""))
            value: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
            return value
        return {}

    def sessions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "/sessions").get("sessions", [])
        return found

    def ticket(self, console: str, *rights: str, **changes: Any) -> str:
        self._nonce += 1
        claims: dict[str, Any] = {
            "aud": NAME,
            "sub": "ann",
            "console": console,
            "rights": list(rights or tickets.RIGHTS),
            "exp": time.time() + 60,
            "jti": f"nonce-{self._nonce}",
        }
        return tickets.sign(self.key, claims | changes, issuer="main")

    def post(
        self, path: str, value: object, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        body = json.dumps(value).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as asked:
            asked.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            return _answer(asked)

    def trade(self, ticket: str) -> dict[str, Any]:
        return self.post("/v1/sessions", {"ticket": ticket})[1]

    def open(self, console: str, *rights: str, **changes: Any) -> "Viewer":
        """A viewer with a session of its own."""
        answer = self.trade(self.ticket(console, *rights, **changes))
        assert "token" in answer, answer
        return Viewer(self.port, answer["token"])


def _answer(asked: socket.socket) -> tuple[int, dict[str, Any]]:
    head = b""
    while b"\r\n\r\n" not in head:
        received = asked.recv(65_536)
        if not received:
            raise ConnectionError("no answer")
        head += received
    head, _, body = head.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += asked.recv(65_536)
    return int(head.split()[1]), json.loads(body) if body else {}


class ClosedError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


class Viewer:
    """A WebSocket of the proxy, as a browser has it."""

    def __init__(
        self,
        port: int,
        token: str,
        *,
        tls: ssl.SSLContext | None = None,
        path: str = "/v1/connect",
        headers: Mapping[str, str] | None = None,
        name: str = "localhost",
        address: str = "127.0.0.1",
    ) -> None:
        self.token = token
        self.socket: socket.socket = socket.create_connection((address, port), PATIENCE)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=name)
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Key: {websocket.new_key()}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: binary, sysvm.token.{token}",
        ]
        lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._frames = websocket.Frames(masked=False, most=1 << 24)
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.socket.recv(1)
            if not received:
                break
            head += received
        self.status = int(head.split()[1]) if head else 0
        self._found = iter(())  # type: Iterator[tuple[int, bytes]]
        self._bytes = b""
        self.told: list[dict[str, Any]] = []

    def _frame(self) -> tuple[int, bytes]:
        while True:
            for frame in self._found:
                return frame
            received = self.socket.recv(262_144)
            if not received:
                raise ConnectionError("the proxy is gone")
            self._found = iter(list(self._frames.feed(received)))

    def _take(self) -> None:
        opcode, payload = self._frame()
        if opcode == websocket.BINARY:
            self._bytes += payload
        elif opcode == websocket.TEXT:
            self.told.append(json.loads(payload))
        elif opcode == websocket.CLOSE:
            raise ClosedError(int.from_bytes(payload[:2]), payload[2:].decode())

    def read(self, count: int) -> bytes:
        while len(self._bytes) < count:
            self._take()
        taken, self._bytes = self._bytes[:count], self._bytes[count:]
        return taken

    def read_to(self, end: bytes) -> bytes:
        while end not in self._bytes:
            self._take()
        return self.read(self._bytes.index(end) + len(end))

    def view(self, **wanted: object) -> dict[str, Any]:
        """What the proxy told of the session, once it says this."""
        while not self.told or not wanted.items() <= self.told[-1].items():
            self._take()
        return self.told[-1]

    def closed(self) -> ClosedError:
        """How the proxy closes, whatever it sends before."""
        while True:
            try:
                self._take()
            except ClosedError as error:
                return error

    def send(self, payload: bytes) -> None:
        self.socket.sendall(websocket.frame(websocket.BINARY, payload, masked=True))

    def command(self, **command: object) -> None:
        text = json.dumps(command).encode()
        self.socket.sendall(websocket.frame(websocket.TEXT, text, masked=True))

    def greet(self) -> bytes:
        """RFB's handshake; the name of the desktop is answered."""
        assert self.read(12) == b"RFB 003.008\n"
        self.send(b"RFB 003.008\n")
        assert self.read(2) == b"\1\1"
        self.send(b"\1")
        assert self.read(4) == bytes(4)
        self.send(b"\0")
        init = self.read(24)
        return self.read(int.from_bytes(init[20:]))

    def hang_up(self) -> None:
        """Closes as a browser's page does that has had enough."""
        self.socket.sendall(websocket.close(1000, masked=True))
        self.socket.close()

    def vanish(self) -> None:
        self.socket.close()


def until(condition: Any, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
