"""TLS for browsers, and a reverse proxy in front."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.integration.consoleproxy.fake_vnc import Recorder
from tests.integration.consoleproxy.proxy_lab import Proxy, Viewer, free_port, until

_KEY = b"\x04\x01\x00\x00\x00\x00\x00\x61"


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.server.close()


@pytest.fixture(scope="module")
def proxy(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("proxy"))
    here = {"title": "VM", "kind": "vnc", "host": "127.0.0.1", "port": recorder.port}
    proxy.config |= {"consoles": {"vm1": here}, "path": "/console", "proxies": ["127.0.0.0/8"]}
    proxy.start()
    yield proxy
    proxy.stop()


def _name(port: int, authority: Authority, name: str) -> str:
    """The certificate that is shown to whoever asks for a name."""
    context = authority.client_context()
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        certificate = secured.getpeercert() or {}
        return str(certificate["subjectAltName"][0][1])  # type: ignore[index]


def test_certificates_are_chosen_and_replaced(proxy: Proxy, recorder: Recorder, tmp_path: Path) -> None:
    authority, port = Authority(), free_port()

    def put(file: str, *names: str) -> str:
        path = tmp_path / file
        path.write_text("".join(authority.issue(*names)))
        return str(path)

    listen = [*proxy.config["listen"], {"address": "127.0.0.1", "port": port, "tls": True}]
    proxy.write(
        listen=listen,
        certificate=put("default.pem", "proxy.example"),
        certificates={"other.example": put("other.pem", "other.example"),
                      "*.wild.example": put("wild.pem", "*.wild.example")},
    )  # fmt: skip

    def served() -> bool:
        try:
            return _name(port, authority, "proxy.example") == "proxy.example"
        except OSError:
            return False

    until(served)
    assert _name(port, authority, "other.example") == "other.example"
    assert _name(port, authority, "a.wild.example") == "*.wild.example"
    assert _name(port, authority, "unknown.example") == "proxy.example"

    answer = proxy.trade(proxy.ticket("vm1"))
    viewer = Viewer(port, answer["token"], tls=authority.client_context(), name="proxy.example")
    viewer.greet()
    # A new certificate, of another authority: whoever is there stays.
    authority_before, authority = authority, Authority()
    put("default.pem", "new.example")
    proxy.write()

    def replaced() -> bool:
        try:
            return all(_name(port, authority, "x.example") == "new.example" for _ in range(4))
        except ssl.SSLError:
            return False

    until(replaced)
    viewer.send(_KEY)
    until(lambda: recorder.received.endswith(_KEY))
    with pytest.raises(ssl.SSLError):
        _name(port, authority_before, "x.example")
    viewer.hang_up()


def test_below_a_path_behind_a_proxy(proxy: Proxy) -> None:
    ticket = proxy.ticket("vm1", client="198.51.100.7")
    assert proxy.post("/console/v1/sessions", {"ticket": ticket})[1]["error"] == "ticket-elsewhere"
    forged = {"X-Forwarded-For": "198.51.100.7, 192.0.2.66"}
    assert proxy.post("/console/v1/sessions", {"ticket": ticket}, forged)[1]["error"] == "ticket-elsewhere"
    headers = {"X-Forwarded-For": "192.0.2.66, 198.51.100.7"}
    status, answer = proxy.post("/console/v1/sessions", {"ticket": ticket}, headers)
    assert status == 200
    viewer = Viewer(proxy.port, answer["token"], path="/console/v1/connect", headers=headers)
    assert viewer.greet() == b"desktop"
    viewer.vanish()
    assert Viewer(proxy.port, answer["token"]).closed().reason == "ticket-elsewhere"


def test_drained(proxy: Proxy) -> None:
    proxy.write(draining=True)
    until(lambda: proxy.control("GET", "/status").get("draining"))
    assert proxy.trade(proxy.ticket("vm1"))["error"] == "draining"
    for session in proxy.sessions():
        proxy.control("POST", f"/v1/console/sessions/{session['id']}/kick")
    until(lambda: proxy.control("GET", "/v1/console/status").get("drained"))
    proxy.write(draining=False)


def test_pages_are_files_of_ours(proxy: Proxy) -> None:
    for path in ("/../../etc/passwd", "/novnc/../../../../etc/passwd", "/.git/config", "/v1/", "/novnc/"):
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as asked:
            asked.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert asked.recv(4096).split()[1] == b"404"
