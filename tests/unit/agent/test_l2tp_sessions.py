"""Sessions by L2TP: which are there, what they come to, and how they are ended."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.agent.vpn import l2tp as told
from appliance.engine import l2tp
from appliance.engine.host import Host
from appliance.resources import L2tpServer, Unit

Begin = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """A process called pppd, noted as its script notes a session; its link is one that every machine has."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    monkeypatch.setattr(l2tp, "SESSIONS", sessions)
    monkeypatch.setattr(l2tp, "_TERM_SECONDS", 0.2)
    monkeypatch.setattr(told, "TOTALS", tmp_path / "totals")
    begun: list[subprocess.Popen[bytes]] = []

    def make(user: str, *, address: str = "10.201.0.2", stubborn: bool = False) -> subprocess.Popen[bytes]:
        program = tmp_path / "pppd"
        program.write_text(f"#!/bin/sh\ntrap '{'' if stubborn else 'exit 0'}' TERM\necho\nread forever\n")
        program.chmod(0o755)
        process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        begun.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        (sessions / "lo").write_text(
            f"pid={process.pid}\nuser={user}\naddress={address}\nremote=198.51.100.7\nsince=1.5\n"
        )
        return process

    yield make
    for process in begun:
        process.kill()
        process.communicate()


def server(*users: str) -> L2tpServer:
    return L2tpServer(unit=Unit(name="x.service"), users=users, pool="10.201.0.0/24")


def test_a_session_is_there_as_long_as_its_process(begin: Begin) -> None:
    process = begin("alice")
    (session,) = l2tp.sessions()
    assert (session.link, session.user, session.address) == ("lo", "alice", "10.201.0.2")
    process.kill()
    process.wait()
    assert l2tp.sessions() == []


def test_a_torn_note_is_no_session(begin: Begin) -> None:
    begin("alice")
    (l2tp.SESSIONS / "lo").write_text("pid=12")
    assert l2tp.sessions() == []


@pytest.mark.parametrize("stubborn", [False, True])
def test_whoever_is_gone_is_disconnected(begin: Begin, stubborn: bool) -> None:
    process = begin("alice", stubborn=stubborn)
    assert list(l2tp.plan([server("alice", "bob")], Host())) == []
    (change,) = l2tp.plan([server("bob")], Host())
    assert (change.kind, change.name, change.action) == ("L2tpSession", "alice lo", "delete")
    started = time.monotonic()
    change.run()
    assert list(l2tp.plan([server("bob")], Host())) == []
    assert process.wait(5) == (-9 if stubborn else 0)
    assert time.monotonic() - started < 5


def test_an_address_of_another_pool_ends_a_session(begin: Begin) -> None:
    begin("alice", address="10.202.0.2")
    assert [change.name for change in l2tp.plan([server("alice")], Host())] == ["alice lo"]


def test_where_the_kernel_has_none_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(l2tp, "available", lambda there=there: there)
        assert [unit.name for unit in l2tp.units([server()])] == ["x.service"] * there


def test_users_are_told_with_what_they_sent_in_all(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l2tp, "available", lambda: False)
    monkeypatch.setattr(told, "_counted", lambda link: (100, 200))
    sessions = told.L2tp(lambda: [server("alice", "bob")])
    assert [(item.name, item.state) for item in sessions.sessions()] == [
        ("alice", "unsupported"),
        ("bob", "unsupported"),
    ]
    process = begin("bob")
    told.TOTALS.mkdir()
    (told.TOTALS / "bob").write_text("7 8\n")
    bob = sessions.sessions()[1]
    assert (bob.state, bob.remote, bob.addresses) == ("up", "198.51.100.7", ("10.201.0.2",))
    assert (bob.sent_bytes, bob.received_bytes) == (107, 208)
    process.kill()
    process.wait()
    # The sum isn't written yet: it never shrinks.
    assert sessions.sessions()[1].sent_bytes == 107
    (told.TOTALS / "bob").write_text("110 210\n")
    assert (sessions.sessions()[1].sent_bytes, sessions.sessions()[1].received_bytes) == (110, 210)


def test_usage_of_each_user_only_grows(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "_counted", lambda link: (100, 200))
    sessions = told.L2tp(list)
    assert sessions.read({}) == {}
    process = begin("alice")
    told.TOTALS.mkdir()
    (told.TOTALS / "bob@example.org").write_text("7 8\n")
    (told.TOTALS / ".lock").write_text("")
    # As the user sees it.
    first = {
        "l2tp-alice": {"sent": {"bytes": 200}, "received": {"bytes": 100}},
        "l2tp-bob@example.org": {"sent": {"bytes": 8}, "received": {"bytes": 7}},
    }
    assert sessions.read({}) == first
    process.kill()
    process.wait()
    # Ended, and not summed up: neither by this agent nor by the next one is it less.
    for asked in (sessions, told.L2tp(list)):
        assert asked.read({**first, "ipsec-office": {}}) == first
    (told.TOTALS / "alice").write_text("150 260\n")
    again = told.L2tp(list).read(first)
    assert again["l2tp-alice"] == {"sent": {"bytes": 260}, "received": {"bytes": 150}}
