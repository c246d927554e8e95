"""Records on disk, passwords on disk, tokens, counters."""

import json
from collections import Counter
from pathlib import Path

import pytest

from router.metadata_server import status
from router.metadata_server.password import Passwords
from router.metadata_server.records import Records
from router.metadata_server.server import settings
from router.metadata_server.token import Tokens, lifetime


def line(number: int, **fields: object) -> str:
    value = {"address": f"10.1.1.{number}", "mac": "02:00:00:00:00:01", "instance_id": f"i-{number}"}
    return json.dumps(value | fields) + "\n"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name("." + path.name)
    new.write_text(text)
    new.rename(path)


def instance(records: Records, number: int) -> str | None:
    guest = records.guest(f"10.1.1.{number}")
    return None if guest is None else guest.record.instance_id


def test_records_come_change_and_go(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert instance(records, 1) is None
    put(tmp_path / "base", line(1) + line(2))
    assert (instance(records, 1), instance(records, 2), instance(records, 3)) == ("i-1", "i-2", None)
    put(tmp_path / "added" / "x", line(3))
    assert (instance(records, 3), records.count()) == ("i-3", 3)
    for number in range(50):
        put(tmp_path / "added" / "x", line(3, instance_id=f"n-{number}"))
        assert instance(records, 3) == f"n-{number}"
    put(tmp_path / "added" / "y", line(1, instance_id="newer"))
    assert instance(records, 1) == "newer", "added comes after base"
    put(tmp_path / "base", line(2))
    (tmp_path / "added" / "x").unlink()
    (tmp_path / "added" / "y").unlink()
    assert (instance(records, 1), instance(records, 2), instance(records, 3)) == (None, "i-2", None)
    put(tmp_path / "base", "")
    assert instance(records, 2) is None


def test_a_record_that_is_not_ready_or_not_one_is_not_there(tmp_path: Path) -> None:
    records = Records(tmp_path)
    put(tmp_path / "base", "\nnonsense\n[1]\n{}\n" + line(1) + line(2, user_data="not base64!"))
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / ".x").write_text(line(3))
    (tmp_path / "added" / "y").write_text("nonsense")
    assert [instance(records, number) for number in (1, 2, 3)] == ["i-1", None, None]


def test_an_address_in_a_key_is_not_the_address(tmp_path: Path) -> None:
    records = Records(tmp_path)
    value = json.loads(line(1, keys={"address": "10.1.1.9"}))
    reordered = {key: value[key] for key in ("keys", "instance_id", "mac", "address")}
    put(tmp_path / "base", json.dumps(reordered) + "\n" + line(2).rstrip("\n"))
    assert [instance(records, number) for number in (1, 2, 9)] == ["i-1", "i-2", None]


def test_answers_go_with_the_record(tmp_path: Path) -> None:
    records = Records(tmp_path)
    put(tmp_path / "base", line(1))
    guest = records.guest("10.1.1.1")
    assert guest is not None and records.guest("10.1.1.1") is guest
    put(tmp_path / "added" / "x", line(2))
    assert records.guest("10.1.1.1") is guest, "another's record is none of its business"
    put(tmp_path / "added" / "y", line(1))
    assert records.guest("10.1.1.1") is not guest
    guest = records.guest("10.1.1.1")
    (tmp_path / "added" / "y").unlink()
    assert records.guest("10.1.1.1") is not guest


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    records = Records(tmp_path)
    put(tmp_path / "base", "".join(line(number, hostname="h" * 60_000) for number in range(300, 800)))
    for number in range(300, 800):
        assert instance(records, number) == f"i-{number}"
    assert sum(guest.size for guest in records._guests.values()) == records._kept_bytes <= 16 << 20


def test_a_password_is_taken_away_when_that_one_has_arrived(tmp_path: Path) -> None:
    (tmp_path / "guest0").mkdir()
    path = tmp_path / "guest0" / "10.1.1.1"
    passwords = Passwords(tmp_path)
    assert passwords.offer("guest0", "10.1.1.1") is None
    put(path, "first")
    assert passwords.sent("guest0", "10.1.1.1") is None
    assert passwords.offer("guest0", "10.1.1.1") == b"first"
    sent = passwords.sent("guest0", "10.1.1.1")
    assert sent is not None and passwords.sent("guest0", "10.1.1.1") is None
    put(path, "newer")
    assert not passwords.forget("guest0", "10.1.1.1", sent)
    assert path.read_text() == "newer"
    assert passwords.offer("guest0", "10.1.1.1") == b"newer"
    sent = passwords.sent("guest0", "10.1.1.1")
    assert sent is not None and passwords.forget("guest0", "10.1.1.1", sent)
    assert list(path.parent.iterdir()) == []
    assert not passwords.forget("guest0", "10.1.1.1", sent)
    assert not passwords.forget("guest9", "10.1.1.1", sent)


def test_a_password_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "guest0").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "guest0" / "10.1.1.1").symlink_to(tmp_path / "secret")
    (tmp_path / "guest0" / "10.1.1.2").mkdir()
    (tmp_path / "guest0" / "10.1.1.3").write_text("")
    passwords = Passwords(tmp_path)
    assert [passwords.offer("guest0", f"10.1.1.{number}") for number in (1, 2, 3)] == [None] * 3


def test_tokens() -> None:
    tokens = Tokens()
    token = tokens.issue("guest0 10.1.1.1 02:00:00:00:00:01", seconds=60, now=100.0)
    assert tokens.expiry(token, "guest0 10.1.1.1 02:00:00:00:00:01") == 160.0
    assert tokens.expiry(token, "guest0 10.1.1.1 02:00:00:00:00:02") is None
    assert Tokens().expiry(token, "guest0 10.1.1.1 02:00:00:00:00:01") is None
    for forged in ("", "A", "=", "ü", "AAAA", token[:-4], token + "AAAA", token.lower()):
        assert tokens.expiry(forged, "guest0 10.1.1.1 02:00:00:00:00:01") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1), ("21600", 21600), ("0", None), ("21601", None), ("-1", None), ("1.5", None), ("", None),
     (None, None), ("²", None), ("1, 1", None), ("000060", None)],
)  # fmt: skip
def test_the_lifetime_of_a_token(text: str | None, seconds: int | None) -> None:
    assert lifetime(text) == seconds


def test_counters() -> None:
    counts = Counter({"ec2 200": 3, "ec2 401": 1, "none 404": 2, "refused unknown_guest": 2})
    assert status.summary(counts) == {
        "requests": 6,
        "refused": 2,
        "requests_by_kind": {"ec2": 4, "none": 2},
        "requests_by_status": {"200": 3, "401": 1, "404": 2},
        "refused_by_reason": {"unknown_guest": 2},
    }


def test_a_network_is_named_by_its_interface() -> None:
    config = {
        "networks": {"guest0": {"address": "10.1.1.1", "network": "10.1.1.0/24", "tokens": "required"}}
    }
    assert settings(json.dumps(config))["guest0"].tokens_required
    for link in ("../x", ".", "", "a/b", "a" * 16):
        with pytest.raises(ValueError):
            settings(json.dumps({"networks": {link: config["networks"]["guest0"]}}))
