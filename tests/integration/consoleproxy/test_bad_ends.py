"""Servers that lie, hang or end; viewers that break the rules; neither harms anybody else."""

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consoleproxy.console_server import websocket
from tests.certificates import Authority
from tests.integration.consoleproxy.fake_vnc import Server, greet
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


# Servers that aren't what they should be


def _says(*pieces: bytes) -> Callable[[socket.socket], None]:
    def served(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            connection.recv(64)

    return served


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ((b"HTTP/1.0 400 Bad Request\r\n\r\n",), "console-refused"),
        ((b"RFB 002.000\n",), "console-refused"),
        ((b"RFB 003.008\n", b"\0\0\0\0\5no\n\x1b!"), "console-refused"),
        ((b"RFB 003.008\n", b"\2\x05\x10"), "console-refused"),
        ((b"RFB 003.008\n", b"\1\2", bytes(16)), "console-refused"),
        ((b"RFB 003.008\n", b"\1\1", b"\0\0\0\1\0\0\0\2no"), "console-refused"),
        ((b"RFB 003.008\n",), "console-closed"),
    ],
)
def test_servers_that_lie(
    proxy: Proxy,
    console: Callable[..., None],
    request: pytest.FixtureRequest,
    pieces: tuple[bytes, ...],
    reason: str,
) -> None:
    server = Server(_says(*pieces))
    console(host="127.0.0.1", port=server.port)
    assert opened(proxy, request).closed().reason == reason
    server.close()


def test_a_server_that_hangs_holds_up_nobody(
    proxy: Proxy, console: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    silent = Server(lambda connection: time.sleep(60))
    console(host="127.0.0.1", port=silent.port)
    begun = time.monotonic()
    waiting = opened(proxy, request)
    assert proxy.trade("nonsense")["error"] == "ticket-invalid"
    assert time.monotonic() - begun < 9
    assert waiting.closed().reason == "console-timeout"
    silent.close()


def test_a_server_that_ends_in_the_middle(
    proxy: Proxy, console: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    cut = threading.Event()

    def served(connection: socket.socket) -> None:
        greet(connection)
        cut.wait(30)

    server = Server(served)
    console(host="127.0.0.1", port=server.port)
    viewer = opened(proxy, request)
    viewer.greet()
    cut.set()
    assert viewer.closed().reason == "console-closed"
    # It may come back: the guest was restarted.
    again = Viewer(proxy.port, viewer.token)
    assert again.greet() == b"desktop"
    server.close()


def test_viewers_who_never_read_stop_the_server(
    proxy: Proxy, console: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    """Back-pressure: what nobody takes isn't piled up in the proxy."""
    sent = [0]

    def served(connection: socket.socket) -> None:
        greet(connection)
        connection.settimeout(3)
        for _ in range(4096):
            sent[0] += connection.send(bytes(65_536))

    server = Server(served)
    console(host="127.0.0.1", port=server.port)
    viewer = opened(proxy, request)
    viewer.greet()
    before = -1
    while sent[0] != before:
        before = sent[0]
        time.sleep(1)
    assert sent[0] < 64 << 20
    taken = 0
    while taken < 16 << 20:
        viewer.read(65_536)
        taken += 65_536
    server.close()


def test_servers_that_never_read_stop_the_viewer(
    proxy: Proxy, console: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    def served(connection: socket.socket) -> None:
        greet(connection)
        time.sleep(60)

    server = Server(served)
    console(host="127.0.0.1", port=server.port)
    viewer = opened(proxy, request)
    viewer.greet()
    viewer.socket.settimeout(2)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 256 << 20:
            viewer.send(_KEY * 4096)
            sent += 8 * 4096
    server.close()


def test_the_last_word_is_heard(
    proxy: Proxy, console: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    """A socket that is closed while a viewer still sends is reset. A browser that is reset doesn't tell its
    page the reason: it would seem a cut, and the page come back and take its session from who has it now."""
    server = Server(lambda connection: (greet(connection), time.sleep(60))[0])
    console(host="127.0.0.1", port=server.port)
    viewer = opened(proxy, request)
    viewer.greet()
    Viewer(proxy.port, viewer.token).greet()
    viewer.send(_KEY)
    assert viewer.closed().reason == "elsewhere"
    viewer.send(_KEY)
    viewer.socket.sendall(websocket.close(1000, masked=True))
    assert viewer.socket.recv(1) == b"", "it was reset"
    server.close()


@pytest.mark.parametrize(
    "sent",
    [
        websocket.frame(websocket.TEXT, b"{}", masked=True),
        websocket.frame(websocket.TEXT, b'{"do": "fly"}', masked=True),
        websocket.frame(websocket.TEXT, b"[" * 900, masked=True),
        websocket.frame(websocket.BINARY, b"\x63", masked=True),
        websocket.frame(websocket.BINARY, b"x"),
        b"\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00",
    ],
    ids=["empty", "unknown", "deep", "message", "unmasked", "huge"],
)
def test_viewers_that_break_the_rules(
    proxy: Proxy, console: Callable[..., None], request: pytest.FixtureRequest, sent: bytes
) -> None:
    server = Server(lambda connection: (greet(connection), time.sleep(30))[0])
    console(host="127.0.0.1", port=server.port)
    viewer = opened(proxy, request)
    viewer.greet()
    viewer.socket.sendall(sent)
    with contextlib.suppress(ConnectionError):
        assert viewer.closed().code in (1002, 1008, 1009)
    other = opened(proxy, request)
    other.greet()
    server.close()


def test_origins(proxy: Proxy, console: Callable[..., None], request: pytest.FixtureRequest) -> None:
    server = Server(greet)
    console(host="127.0.0.1", port=server.port)
    ticket = proxy.ticket(request.node.name)
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil:{proxy.port}"):
        assert proxy.post("/v1/sessions", {"ticket": ticket}, {"Origin": origin})[0] == 403
    status, answer = proxy.post(
        "/v1/sessions", {"ticket": ticket}, {"Origin": f"http://127.0.0.1:{proxy.port}"}
    )
    assert status == 200
    refused = Viewer(proxy.port, answer["token"], headers={"Origin": "https://evil.example"})
    assert Viewer(proxy.port, answer["token"], headers={"Origin": "http://[half"}).status == 403
    assert refused.status == 403
    assert Viewer(proxy.port, "").closed().reason == "session-unknown"
    server.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 12_000:
        pytest.skip("this process may not open so many sockets")
    resource.setrlimit(resource.RLIMIT_NOFILE, (12_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_half_open_connections(
    proxy: Proxy,
    console: Callable[..., None],
    request: pytest.FixtureRequest,
    authority: Authority,
    tmp_path: Path,
    many_files: None,
    secure: bool,
) -> None:
    """Those who say nothing make room for those who do; the proxy holds no more of them than it wants to."""
    server = Server(greet)
    tls = None
    port = proxy.port
    if secure:
        port, tls = free_port(), authority.client_context()
        (tmp_path / "own.pem").write_text("".join(authority.issue("localhost")))
        listen = [{"address": "127.0.0.1", "port": each, "tls": each == port} for each in (proxy.port, port)]
        proxy.write(listen=listen, certificate=str(tmp_path / "own.pem"))
    console(host="127.0.0.1", port=server.port)
    silent = []
    try:
        for _ in range(5000 if secure else 10_000):
            silent.append(socket.create_connection(("127.0.0.1", port), 30))
            silent[-1].sendall(b"\x16\x03\x01\x02\x00" if secure else b"GET / HT")
        token = proxy.trade(proxy.ticket(request.node.name))["token"]
        assert Viewer(port, token, tls=tls).greet() == b"desktop"
        files = len(list(Path(f"/proc/{proxy.parts()['0']}/fd").iterdir()))
        assert files < 2000
    finally:
        for each in silent:
            each.close()
        server.close()
        proxy.write(listen=proxy.config["listen"][:1])
