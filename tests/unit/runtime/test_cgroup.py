import subprocess
from pathlib import Path

import pytest

from appliance.runtime import cgroup


@pytest.fixture
def hierarchies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    places = [tmp_path / "unified", tmp_path / "systemd"]
    for place in places:
        place.mkdir()
    monkeypatch.setattr(cgroup, "hierarchies", lambda: tuple(places))
    return places


def test_joins_every_hierarchy_before_it_becomes_the_command(hierarchies: list[Path]) -> None:
    cgroup.create("sysvm-t-r1")
    script = (
        f"cat {hierarchies[0]}/sysvm-t-r1/cgroup.procs {hierarchies[1]}/sysvm-t-r1/cgroup.procs; echo $0 $1"
    )
    said = subprocess.run(
        cgroup.joined("sysvm-t-r1", ["sh", "-c", script, "--", "a b"]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "0\n0\n-- a b\n"


def test_without_its_group_the_command_doesnt_run(hierarchies: list[Path]) -> None:
    said = subprocess.run(cgroup.joined("sysvm-t-gone", ["echo", "ran"]), capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (125, "")


def test_groups_are_found_by_prefix_in_any_hierarchy(hierarchies: list[Path]) -> None:
    cgroup.create("sysvm-t-b")
    (hierarchies[1] / "sysvm-t-a").mkdir()
    cgroup.create("sysvm-tt-c")
    assert cgroup.names("sysvm-t-") == ["sysvm-t-a", "sysvm-t-b"]
