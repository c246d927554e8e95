"""What the pair's process makes of files: its settings, leases, fetched passwords, keepalived's answer."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from appliance.resources import File
from appliance.roles import resources
from router import redundancy
from router.metadata_server.password import Passwords
from router.pair import fetched, keepalived, leases, settings
from router.pair.settings import Settings
from tests.examples import document

LEASES = """1795365543 02:00:00:00:00:06 10.1.1.150 * ff:00:11:22:33
0 02:00:00:00:00:05 10.1.1.5 web *
duid 00:01:00:01
1795365543 1234 fd00:1::5 web 00:01
"""


@pytest.fixture
def read(tmp_path: Path) -> Settings:
    """As the document says it and the process reads it."""
    (file,) = (
        item
        for item in resources(document("pair-r1"))
        if isinstance(item, File) and item.path.endswith("pair.json")
    )
    path = tmp_path / "pair.json"
    path.write_text(file.content)
    return settings.read(path)


def test_settings(read: Settings) -> None:
    assert (read.name, read.peer, read.sync.peer) == ("r1", "r2", "169.254.4.2")
    assert ("guest0", "10.1.1.1/24") in read.addresses
    assert read.dhcp == {"guest0": "169.254.128.0"}
    assert "correct" not in repr(read)


def test_each_purpose_has_a_key_of_its_own(read: Settings) -> None:
    assert read.key("shared state") != read.key("fetched passwords") != read.secret
    assert read.key("fetched passwords").hex() == redundancy.fetched_key(document("pair-r1"))


def test_leases_are_read_as_dnsmasq_writes_them() -> None:
    assert leases.parsed(LEASES) == {
        "10.1.1.150": leases.Lease(1795365543, "02:00:00:00:00:06", "ff:00:11:22:33"),
        "10.1.1.5": leases.Lease(0, "02:00:00:00:00:05", "*"),
    }


def test_what_a_guest_fetched_goes_from_the_other_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = b"k" * 32
    for router in ("r1", "r2"):
        for name in ("10.1.1.10", "10.1.1.11"):
            place = tmp_path / router / "passwords" / "guest0" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"secret of {name}")
        (tmp_path / router / "fetched").mkdir()
    service = Passwords(tmp_path / "r1" / "passwords")
    service.notes = (tmp_path / "r1" / "fetched", key)
    assert service.offer("guest0", "10.1.1.10") == b"secret of 10.1.1.10"
    sent = service.sent("guest0", "10.1.1.10")
    assert sent is not None and service.forget("guest0", "10.1.1.10", sent)

    monkeypatch.setattr(fetched, "NOTES", tmp_path / "r1" / "fetched")
    told = fetched.noted()
    assert told == {"guest0_10.1.1.10": hmac.new(key, b"secret of 10.1.1.10", hashlib.sha256).hexdigest()}
    monkeypatch.setattr(fetched, "NOTES", tmp_path / "r2" / "fetched")
    monkeypatch.setattr(fetched, "PASSWORDS", tmp_path / "r2" / "passwords")
    monkeypatch.setattr(fetched, "_OWNER", "root")
    assert fetched.adopt(told, key) == 1
    waiting = tmp_path / "r2" / "passwords" / "guest0"
    assert [path.name for path in waiting.iterdir()] == ["10.1.1.11"]
    assert fetched.noted() == told, "it tells the next one"
    # A new password in the same place is another one.
    (waiting / "10.1.1.10").write_text("a new one")
    assert fetched.adopt(told, key) == 0
    assert (waiting / "10.1.1.10").exists()


@pytest.mark.parametrize("name", ["../../etc_10.1.1.1", "guest0_..", "guest0", "guest0_10.1.1.1/x", ""])
def test_a_name_leads_nowhere_else(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "NOTES", tmp_path)
    assert fetched.adopt({name: "0" * 64}, b"k") == 0
    assert list(tmp_path.iterdir()) == []


def test_keepalived_is_asked_and_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(keepalived.SilentError, match="doesn't run"):
        keepalived.ask(tmp_path)
    (tmp_path / "keepalived.pid").write_text("not a number")
    with pytest.raises(keepalived.SilentError):
        keepalived.ask(tmp_path)
    answer = json.loads(
        '{"vrrp": [{"data": {"state": 2, "effective_priority": 243, "last_transition": 1795361517.5},'
        ' "stats": {"become_master": 3, "advert_rcvd": 72}}]}'
    )
    found = keepalived._vrrp(answer)
    assert (found.state, found.priority, found.became_primary) == ("primary", 243, 3)
