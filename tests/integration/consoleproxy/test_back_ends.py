"""Consoles as hypervisors serve them: QEMU in each of its ways, and answers as XenServer and VMware document
them."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consoleproxy.console_server import websocket
from tests.certificates import Authority
from tests.integration.consoleproxy.fake_vnc import Server, exactly
from tests.integration.consoleproxy.proxy_lab import Proxy, Viewer, free_port, until

_KEY = b"\x04\x01\x00\x00\x00\x00\x00\x61"
_PASSWORD = "sesame"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), relays=1)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def console(proxy: Proxy, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Makes the test's console known to the proxy, by the test's name."""

    def make(**settings: object) -> None:
        name = request.node.name
        proxy.write(consoles={name: {"title": name, "kind": "vnc"} | settings})
        until(lambda: proxy.trade(proxy.ticket(name, sub="probe")).get("token"))

    return make


def opened(proxy: Proxy, request: pytest.FixtureRequest) -> Viewer:
    return proxy.open(request.node.name)


# QEMU


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A machine that never runs, with a screen."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("QEMU is not installed")
    running: list[subprocess.Popen[bytes]] = []

    def start(*argv: str) -> None:
        fixed = ["qemu-system-x86_64", "-S", "-m", "16", "-nodefaults", "-vga", "std", "-accel", "tcg"]
        running.append(subprocess.Popen([*fixed, *argv], stderr=(tmp_path / "log").open("wb")))

    yield start
    for process in running:
        process.kill()
        process.wait()


def _reached(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("secured", ["plain", "password", "tls", "tls-password"])
def test_qemu(
    proxy: Proxy,
    console: Callable[..., None],
    qemu: Callable[..., None],
    authority: Authority,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    secured: str,
) -> None:
    port = free_port()
    options, settings = f"127.0.0.1:{port - 5900}", {"host": "127.0.0.1", "port": port}
    arguments: list[str] = []
    if "password" in secured:
        arguments += ["-object", f"secret,id=pw,data={_PASSWORD}"]
        options += ",password-secret=pw"
        settings["password"] = _PASSWORD
    if "tls" in secured:
        certificate, key = authority.issue("hypervisor.example")
        (tmp_path / "ca-cert.pem").write_text(authority.pem)
        (tmp_path / "server-cert.pem").write_text(certificate)
        (tmp_path / "server-key.pem").write_text(key)
        arguments += ["-object", f"tls-creds-x509,id=t,dir={tmp_path},endpoint=server,verify-peer=no"]
        options += ",tls-creds=t"
        settings["tls"] = {"ca": authority.pem, "name": "hypervisor.example"}
    qemu(*arguments, "-vnc", options)
    until(lambda: _reached(port))
    console(**settings)
    viewer = opened(proxy, request)
    assert viewer.greet().startswith(b"QEMU")
    viewer.send(b"\x03\x00" + bytes(4) + (16).to_bytes(2) + (16).to_bytes(2))
    assert viewer.read(1) == b"\x00", "a framebuffer update"
    if "tls" in secured:
        # Of another name, or of nobody known: nothing is said to it.
        for tls in ({"ca": authority.pem, "name": "other.example"}, {"ca": Authority().pem}):
            console(**settings | {"tls": tls})
            assert opened(proxy, request).closed().reason == "console-unreachable"
    viewer.hang_up()


def test_qemu_by_a_unix_socket(
    proxy: Proxy, console: Callable[..., None], qemu: Callable[..., None], request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "vnc"
    qemu("-vnc", f"unix:{path}")
    until(path.exists)
    console(socket=str(path))
    assert opened(proxy, request).greet().startswith(b"QEMU")


# To their published protocols: no XenServer and no ESXi was at hand


def _served_tls(authority: Authority, served: Callable[[ssl.SSLSocket], None]) -> Server:
    context = authority.server_context("hypervisor.example")

    def wrapped(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inner:
            served(inner)

    return Server(wrapped)


def _head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(connection, 1)
    return head


def test_xenservers_tunnel(
    proxy: Proxy, console: Callable[..., None], authority: Authority, request: pytest.FixtureRequest
) -> None:
    asked: list[bytes] = []
    keys: list[bytes] = []

    def served(connection: ssl.SSLSocket) -> None:
        asked.append(_head(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n\r\n")
        # RFB 3.3: the server chooses.
        connection.sendall(b"RFB 003.003\n")
        assert exactly(connection, 12) == b"RFB 003.003\n"
        connection.sendall(bytes((0, 0, 0, 1)))
        exactly(connection, 1)
        connection.sendall(bytes(20) + (3).to_bytes(4) + b"xen")
        keys.append(exactly(connection, 8))

    server = _served_tls(authority, served)
    console(
        host="127.0.0.1",
        port=server.port,
        transport="connect",
        path="/console?uuid=b7e4-1",
        headers={"Cookie": "session_id=OpaqueRef:abc"},
        tls={"ca": authority.pem, "name": "hypervisor.example"},
    )
    viewer = opened(proxy, request)
    assert viewer.greet() == b"xen"
    viewer.send(_KEY)
    until(lambda: keys == [_KEY])
    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "CONNECT /console?uuid=b7e4-1 HTTP/1.0"
    assert "Cookie: session_id=OpaqueRef:abc" in lines
    server.close()


def test_vmwares_ticket(
    proxy: Proxy, console: Callable[..., None], authority: Authority, request: pytest.FixtureRequest
) -> None:
    asked: list[bytes] = []
    keys: list[bytes] = []

    def served(connection: ssl.SSLSocket) -> None:
        asked.append(_head(connection))
        key = next(line for line in asked[-1].split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        word = websocket.accept(key.split(b": ")[1].decode()).encode()
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: binary\r\nSec-WebSocket-Accept: " + word + b"\r\n\r\n"
        )
        frames, held = websocket.Frames(masked=True, most=1 << 20), bytearray()

        def took(count: int) -> bytes:
            while len(held) < count:
                for opcode, payload in frames.feed(connection.recv(4096)):
                    if opcode == websocket.BINARY:
                        held.extend(payload)
            taken = bytes(held[:count])
            del held[:count]
            return taken

        def said(data: bytes) -> None:
            connection.sendall(websocket.frame(websocket.BINARY, data))

        said(b"RFB 003.008\n")
        took(12)
        said(b"\1\1")
        took(1)
        said(bytes(4))
        took(1)
        connection.sendall(websocket.frame(websocket.PING, b"there?"))
        said(bytes(20) + (4).to_bytes(4) + b"esxi")
        keys.append(took(8))

    server = _served_tls(authority, served)
    console(
        host="127.0.0.1",
        port=server.port,
        transport="websocket",
        path="/ticket/cst-VCT-52-1",
        tls={"ca": authority.pem, "name": "hypervisor.example"},
    )
    viewer = opened(proxy, request)
    assert viewer.greet() == b"esxi"
    viewer.send(_KEY)
    until(lambda: keys == [_KEY])
    assert asked[0].startswith(b"GET /ticket/cst-VCT-52-1 HTTP/1.1\r\n")
    server.close()
