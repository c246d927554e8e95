import json
import socket
from pathlib import Path

from appliance.agent import local
from appliance.agent.health import Health
from appliance.checks import LinkCheck


def asked(path: Path) -> object:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        return json.load(asking.makefile("rb"))


def test_a_failed_probe_and_a_bad_state_are_said() -> None:
    health = Health(lambda: [LinkCheck(name="link guest0", link="absent0"), LinkCheck(name="lo", link="lo")])
    said = local.condition(generation=7, state="degraded", detail="Disk full", results=health.results())
    assert (said["ok"], said["generation"]) == (False, 7)
    assert said["wrong"][0] == "The state is degraded. Disk full"
    assert [line.partition(":")[0] for line in said["wrong"][1:]] == ["link guest0"]


def test_an_appliance_without_a_document_is_well() -> None:
    said = local.condition(generation=0, state="empty", detail="", results=[])
    assert said == {"ok": True, "generation": 0, "wrong": []}


def test_the_answer_is_of_the_moment(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    # What a killed agent left.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    answers = iter([{"ok": True}, {"ok": False}])
    local.serve(lambda: next(answers), path=path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [asked(path), asked(path)] == [{"ok": True}, {"ok": False}]
