"""Sessions of the daemon with a VNC server whose every byte is known."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.consoleproxy.fake_vnc import Recorder
from tests.integration.consoleproxy.proxy_lab import Proxy, Viewer, until

_KEY = b"\x04\x01\x00\x00\x00\x00\x00\x61"
_POINTER = b"\x05\x00\x00\x01\x00\x01"
_UPDATE = b"\x03\x01" + bytes(8)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("proxy"))
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def recorder(proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    recorder = Recorder()
    here = {"title": "VM", "kind": "vnc", "host": "127.0.0.1", "port": recorder.port}
    proxy.write(consoles={request.node.name: here})
    until(lambda: proxy.trade(proxy.ticket(request.node.name, sub="probe")).get("token"))
    yield recorder
    recorder.server.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def test_a_ticket_opens_a_console_once(proxy: Proxy, recorder: Recorder, name: str) -> None:
    ticket = proxy.ticket(name)
    answer = proxy.trade(ticket)
    viewer = Viewer(proxy.port, answer["token"])
    assert viewer.greet() == b"desktop"
    viewer.send(_KEY)
    until(lambda: recorder.received.endswith(_KEY))
    assert proxy.trade(ticket)["error"] == "ticket-used"


def test_one_controls_and_hands_over(proxy: Proxy, recorder: Recorder, name: str) -> None:
    first, second = proxy.open(name, sub="ann"), proxy.open(name, sub="bob")
    first.greet()
    second.greet()
    assert first.view(viewers=2)["controls"]
    assert not second.view(viewers=2)["controls"]
    second.send(_KEY + _UPDATE)
    until(lambda: recorder.received == _UPDATE)
    second.command(do="ask")
    assert first.view(asking="bob")["controller"] == "ann"
    first.command(do="give")
    second.view(controls=True)
    first.view(controls=False)
    second.send(_KEY)
    until(lambda: recorder.received == _UPDATE + _KEY)


def test_who_may_only_look_sends_nothing(proxy: Proxy, recorder: Recorder, name: str) -> None:
    viewer = proxy.open(name, "view")
    viewer.greet()
    viewer.send(_KEY + _POINTER + b"\x06\x00\x00\x00\x00\x00\x00\x02hi" + _UPDATE)
    until(lambda: recorder.received == _UPDATE)
    viewer.command(do="ask")
    viewer.send(_KEY + _UPDATE)
    until(lambda: recorder.received == 2 * _UPDATE)


def test_a_cut_is_no_end(proxy: Proxy, recorder: Recorder, name: str) -> None:
    viewer = proxy.open(name)
    viewer.greet()
    viewer.vanish()
    again = Viewer(proxy.port, viewer.token)
    assert again.greet() == b"desktop"
    again.hang_up()
    until(lambda: Viewer(proxy.port, viewer.token).closed().reason == "session-unknown")


def test_a_second_place_takes_the_first_ones(proxy: Proxy, recorder: Recorder, name: str) -> None:
    viewer = proxy.open(name)
    viewer.greet()
    again = Viewer(proxy.port, viewer.token)
    again.greet()
    assert viewer.closed().reason == "elsewhere"
    again.send(_KEY)
    until(lambda: recorder.received == _KEY)


def test_kicked_and_revoked(proxy: Proxy, recorder: Recorder, name: str) -> None:
    viewer = proxy.open(name, jti="evil")
    viewer.greet()
    identity = viewer.view()["session"]
    assert identity in [each["id"] for each in proxy.sessions()]
    proxy.control("POST", f"/sessions/{identity}/kick")
    assert viewer.closed().code == 4001
    other = proxy.open(name, sub="eve")
    other.greet()
    proxy.write(revoked={"users": ["eve"]})
    assert other.closed().reason == "kicked"
    assert proxy.trade(proxy.ticket(name, sub="eve"))["error"] == "ticket-revoked"
    proxy.write(revoked={})


def test_limits(proxy: Proxy, recorder: Recorder, name: str) -> None:
    proxy.write(limits={"sessions_per_user": 1, "idle_seconds": 1.0})
    until(lambda: proxy.trade(proxy.ticket(name, sub="carl")).get("error") == "user-full")
    viewer = proxy.open(name, sub="dora")
    viewer.greet()
    for _ in range(5):
        viewer.send(_UPDATE)
        time.sleep(0.1)
    assert viewer.closed().reason == "idle"
    proxy.write(limits={})


def test_kill_of_each_part(proxy: Proxy, recorder: Recorder, name: str) -> None:
    viewers = [proxy.open(name, sub=f"user{number}") for number in range(6)]
    for viewer in viewers:
        viewer.greet()
    used = proxy.ticket(name, sub="zoe")
    proxy.trade(used)
    proxy.kill("desk")
    # Those who are connected don't notice.
    viewers[0].send(_KEY)
    until(lambda: recorder.received.endswith(_KEY))
    until(lambda: proxy.control("GET", "/health").get("relays") == [0, 1])
    assert proxy.trade(used)["error"] == "ticket-used"
    proxy.kill("0")
    cut = 0
    for viewer in viewers:
        try:
            viewer.command(do="ping")
            while {"pong": True} not in viewer.told:
                viewer._take()
        except OSError:
            cut += 1
            until(lambda token=viewer.token: Viewer(proxy.port, token).greet() == b"desktop")
    assert cut < 6 or len(viewers) == 6


def test_nothing_else_is_reached(proxy: Proxy, recorder: Recorder, name: str, tmp_path: Path) -> None:
    for console in ("127.0.0.1:22", "../x", "other", "http://127.0.0.1/"):
        assert proxy.trade(proxy.ticket(console))["error"] == "console-unknown"
