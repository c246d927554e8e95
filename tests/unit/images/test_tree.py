import time
from pathlib import Path

import pytest

from images import libraries, packages
from images.layer import used
from images.recipe import ROLES, listed
from images.tree import KEPT, SOURCE, outside, prune, top_key


def test_lists_have_comments() -> None:
    assert listed("# all\n\nnftables   # rules\nsystemd-sysv\n") == ["nftables", "systemd-sysv"]


def test_the_package_layer_is_keyed_by_its_packages() -> None:
    assert packages.key(("a", "b")) == packages.key(("a", "b"))
    assert packages.key(("a", "b")) != packages.key(("a", "c"))
    assert packages.key(("a", "b")) != packages.key(("a", "b"), excluded=("/usr/share/x/*",))


def test_libraries_are_keyed_by_the_layer_below_and_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = libraries.key(packages="1")
    assert before != libraries.key(packages="2")
    (tmp_path / "lock").write_text("flask==0 --hash=sha256:0\n")
    monkeypatch.setattr(libraries, "LOCK", tmp_path / "lock")
    assert before != libraries.key(packages="1")


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_tree_is_keyed_by_the_layer_below(role: str) -> None:
    assert top_key(ROLES[role], below="1") == top_key(ROLES[role], below="1")
    assert top_key(ROLES[role], below="1") != top_key(ROLES[role], below="2")


def test_an_appliance_has_every_part_and_a_guest_nothing_of_ours() -> None:
    assert {"systemd-sysv", "dnsmasq-base"} <= set(ROLES["router"].packages())
    assert not ROLES["guest"].appliance
    assert "python3-nftables" not in ROLES["guest"].packages()
    assert ROLES["router"].excluded() and not ROLES["guest"].excluded()


def test_what_runs_on_the_host_stays_there() -> None:
    assert outside(SOURCE / "appliance/runtime/container.py")
    assert outside(SOURCE / "appliance/management/store.py")
    assert not outside(SOURCE / "appliance/boot.py")


def test_locks_name_no_place_to_download_from() -> None:
    for lock in (SOURCE / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index-url" not in text


def test_layers_go_that_nobody_has_used_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(KEPT + 3):
        (tmp_path / f"router-{number:02}" / "usr").mkdir(parents=True)
        time.sleep(0.02)  # Times of files have the kernel's ticks.
    prune(tmp_path, "router")
    assert len(list(tmp_path.glob("router-*"))) == KEPT + 3, "a build may read them yet"
    used(tmp_path / "router-00")
    monkeypatch.setattr("images.tree.READ_SECONDS", -1)
    prune(tmp_path, "router")
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["router-00", *(f"router-{number:02}" for number in range(4, KEPT + 3))]


def test_libraries_come_without_commands(tmp_path: Path) -> None:
    """They name the Python that installed them: two checkouts would give two images."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/flask").write_text("#!/somewhere/python\n")
    record = tmp_path / "flask-3.dist-info/RECORD"
    record.parent.mkdir()
    record.write_text("../../bin/flask,sha256=x,223\nflask/__init__.py,sha256=y,1\n")
    libraries.drop_scripts(tmp_path)
    assert not (tmp_path / "bin").exists()
    assert record.read_text() == "flask/__init__.py,sha256=y,1\n"
