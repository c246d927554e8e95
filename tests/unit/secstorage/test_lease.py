"""One appliance at a time, whoever dies when."""

from pathlib import Path

import pytest

from secstorage.storage_server.lease import TERM, UNSURE, HeldError, Lease


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_at_a_time(tmp_path: Path) -> None:
    clock = Clock()
    first, second = (Lease(tmp_path / "lease", name, now=clock) for name in ("one", "two"))
    first.acquire()
    with pytest.raises(HeldError, match="one has the store"):
        second.acquire()
    clock.now += TERM - 1
    first.renew()
    with pytest.raises(HeldError):
        second.acquire()
    clock.now += TERM + 1
    assert not first.held, "it is unsure long before anybody else is sure"
    second.acquire()
    assert second.held
    with pytest.raises(HeldError, match="two has the store"):
        first.renew()
    with pytest.raises(HeldError):
        first.acquire()
    second.release()
    first.acquire()
    assert first.held and not second.held
    assert [path.name for path in tmp_path.iterdir()] == ["lease"]


def test_unsure_comes_before_the_term() -> None:
    assert UNSURE < TERM


def test_a_killed_daemon_has_its_own_again(tmp_path: Path) -> None:
    Lease(tmp_path / "lease", "one").acquire()
    again = Lease(tmp_path / "lease", "one")
    again.acquire()
    assert again.held


def test_a_broken_lease_ends_as_any_other(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "lease").write_bytes(b"\xff{")
    lease = Lease(tmp_path / "lease", "one", now=clock)
    with pytest.raises(HeldError):
        lease.acquire()
    clock.now += TERM + 1
    lease.acquire()
    assert lease.held
