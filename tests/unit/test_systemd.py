"""What is said on systemd's private socket, however the pieces of it arrive."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from jeepney import DBusAddress, Message, new_method_return, new_signal
from jeepney.low_level import Parser

from appliance.engine import systemd

_MANAGER = DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")
_NEWS = new_signal(_MANAGER, "UnitRemoved", "so", ("a.service", "/org/freedesktop/systemd1/unit/a"))


def _listening(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(1)
    return listening


def _reply(connected: socket.socket, welcome: bytes) -> None:
    """Let one in, and have no units for it."""
    parser, begun = Parser(), b""
    while b"BEGIN\r\n" not in begun:
        begun += connected.recv(1024)
    connected.sendall(welcome)
    parser.add_data(begun.partition(b"BEGIN\r\n")[2])
    while (call := parser.get_next_message()) is None:
        parser.add_data(connected.recv(4096))
    answer: Message = new_method_return(call, "a(ssssssouso)", ([],))
    connected.sendall(answer.serialise(serial=2))


@pytest.fixture(params=[b"", _NEWS.serialise(serial=1)], ids=["alone", "with news"])
def welcomed(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setattr(systemd, "_SOCKET", str(tmp_path / "private"))
    monkeypatch.setattr(systemd, "SECONDS", 2.0)
    with _listening(tmp_path / "private") as listening:

        def serve() -> None:
            with listening.accept()[0] as connected:
                _reply(connected, b"OK 0123456789abcdef\r\n" + request.param)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield
        server.join(5)


def test_news_that_come_with_the_welcome_are_no_part_of_it(welcomed: None) -> None:
    assert systemd.units("sysvm-*") == {}
