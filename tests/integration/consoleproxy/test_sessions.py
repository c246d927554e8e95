"""Sessions of the daemon with a VNC server whose every byte is known."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

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


def test_what_the_guest_copied_is_for_whoever_may_have_it(
    proxy: Proxy, recorder: Recorder, name: str
) -> None:
    cut, bell = b"\x03\x00\x00\x00\x00\x00\x00\x06secret", b"\x02"
    without, with_it = proxy.open(name, "view", "control"), proxy.open(name, "view", "clipboard", sub="bob")
    for viewer in (without, with_it):
        viewer.greet()
        viewer.send(_UPDATE)
    until(lambda: len(recorder.connections) == 2)
    for connection in recorder.connections:
        connection.sendall(cut + bell)
    assert with_it.read(len(cut) + 1) == cut + bell
    assert without.read(1) == bell


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
            until(lambda token=viewer.token: _greeted(proxy, token))
    assert cut < 6 or len(viewers) == 6


def _greeted(proxy: Proxy, token: str) -> bool:
    # Who comes while a relay ends is reset, and comes again.
    with suppress(OSError):
        return Viewer(proxy.port, token).greet() == b"desktop"
    return False


def test_an_old_connection_ends_after_the_new_one_came(proxy: Proxy, recorder: Recorder, name: str) -> None:
    """A relay says that a connection is gone when it notices: its session may be entered anew by then.
    And a relay's line may be long: once a second it tells of all its sessions."""
    token = proxy.trade(proxy.ticket(name, sub="ann"))["token"]
    with socket.socket(socket.AF_UNIX) as desk:
        desk.settimeout(30)
        desk.connect(str(proxy.directory / "desk.sock"))
        lines = desk.makefile("rb")

        def say(**value: object) -> None:
            desk.sendall(json.dumps(value).encode() + b"\n")

        def enter(number: int) -> dict[str, Any]:
            say(do="enter", id=number, token=token, client="127.0.0.1")
            answers = (json.loads(line) for line in lines)
            return next(answer for answer in answers if answer.get("id") == number)

        def connected() -> object:
            return next(each for each in proxy.sessions() if each["id"] == session)["connected"]

        say(do="hello", relay=9, sessions={})
        session = enter(1)["session"]
        assert enter(2)["connection"] == 2
        many = {f"s-{number:012x}": (1 << 40, 1 << 40, True) for number in range(10_000)}
        say(do="traffic", sessions=many)
        say(do="left", session=session, connection=1, code="gone")
        enter(3)
        say(do="left", session=session, connection=2, code="gone")
        say(do="traffic", sessions={session: (7, 7, True)})
        until(lambda: next(each for each in proxy.sessions() if each["id"] == session)["to_viewer"] == 7)
        assert connected()
        say(do="left", session=session, connection=3, code="gone")
        until(lambda: not connected())


def test_nothing_else_is_reached(proxy: Proxy, recorder: Recorder, name: str, tmp_path: Path) -> None:
    for console in ("127.0.0.1:22", "../x", "other", "http://127.0.0.1/"):
        assert proxy.trade(proxy.ticket(console))["error"] == "console-unknown"
