"""Kill the agent at every step, cut the power, damage what is kept: the last good document runs."""

import http.client
from collections.abc import Iterator
from typing import Any

import pytest
from router_document import VM1, document
from router_lab import FORWARDS, PUBLIC, Lab, until


@pytest.fixture
def crashing(shared_lab: Lab) -> Iterator[Lab]:
    yield shared_lab
    shared_lab.sh("rm -rf /run/systemd/system/sysvm-agent.service.d; systemctl daemon-reload")
    shared_lab.kill_agent()


def crash_next_at(lab: Lab, step: int | str) -> None:
    """The agent that is started next kills itself before this step, or at this place."""
    lab.sh(
        "d=/run/systemd/system/sysvm-agent.service.d; mkdir -p $d; "
        f"printf '[Service]\\nEnvironment=SYSVM_CRASH_AT={step}\\n' > $d/crash.conf; systemctl daemon-reload"
    )


def push_crashing_at_each_step(lab: Lab, pushed: dict[str, Any]) -> int:
    """Push until no step is left to crash before; after each crash what ran before must run."""
    before = lab.get("/v1/config")
    crash_next_at(lab, 0)
    lab.kill_agent()
    for step in range(200):
        crash_next_at(lab, step + 1)
        try:
            answer = lab.request("PUT", "/v1/config", pushed)
        except (OSError, http.client.HTTPException):
            lab.ready()
            assert lab.settled("converged" if before.get("dhcp") else "empty")
            assert lab.get("/v1/config") == before, step
            if before["generation"]:
                assert lab.drift() == [], step
            continue
        assert answer.status == 200, answer
        return step
    raise AssertionError("it crashes for ever")


def test_a_crash_before_any_step_of_a_first_push(crashing: Lab) -> None:
    lab = crashing
    lab.power_cut(meanwhile=lambda: clear_state(lab))
    assert lab.ready()["generation"] == 0
    assert lab.settled("empty")
    steps = push_crashing_at_each_step(lab, document() | {"generation": 1})
    assert steps > 20
    lab.works()
    assert lab.drift() == []


def test_a_crash_before_any_step_of_a_change(crashing: Lab) -> None:
    lab = crashing
    lab.ready()
    lab.put(document())
    changed = document()
    changed["interfaces"]["guest0"]["mtu"] = 1400
    changed["interfaces"]["public0"]["addresses"] = [f"{PUBLIC}/24", f"{FORWARDS}/24", "203.0.113.9/24"]
    changed["static_nat"] = {"203.0.113.9": {"target": "10.1.1.11"}}
    changed["firewall"]["ingress"]["rules"]["static"]["address"] = "203.0.113.9"
    changed["dns"]["guest0"]["aliases"] = {"www": "vm1"}
    changed["routes"] = {"more": {"destination": "192.0.2.0/24", "gateway": "10.1.1.10"}}
    changed["metadata"]["guest0"]["guests"][VM1]["password"] = "correct horse"
    changed["dhcp"]["guest0"]["reservations"][VM1]["lease_seconds"] = 600
    del changed["dns"]["guest1"], changed["dhcp"]["guest1"]
    generation = lab.get("/v1/config")["generation"] + 1
    steps = push_crashing_at_each_step(lab, changed | {"generation": generation})
    assert steps > 10
    lab.works()
    assert lab.drift() == []


@pytest.mark.parametrize(("place", "kept"), [("verified", False), ("kept", True)])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_crash_around_keeping_a_document(crashing: Lab, method: str, place: str, kept: bool) -> None:
    """Once it is kept it counts, though the client was never told."""
    lab = crashing
    lab.ready()
    lab.put(document())
    generation = lab.get("/v1/config")["generation"]
    crash_next_at(lab, place)
    lab.kill_agent()
    lab.ready()
    crash_next_at(lab, "nowhere")
    change = {"routes": {"more": {"destination": "192.0.2.0/24", "gateway": "10.1.1.10"}}}
    whole = document() | change | {"generation": generation + 1}
    with pytest.raises((OSError, http.client.HTTPException)):
        lab.request(method, "/v1/config", whole if method == "PUT" else change)
    lab.ready()
    assert lab.settled("converged")
    assert lab.get("/v1/config")["generation"] == generation + kept
    assert ("routes" in lab.get("/v1/config")) == kept
    assert lab.drift() == []


def clear_state(lab: Lab) -> None:
    for name in ("document.json", "patches.jsonl", "document.candidate"):
        (lab.state / name).unlink(missing_ok=True)


def test_a_power_cut_brings_back_the_last_good_document_by_itself(lab: Lab) -> None:
    lab.patch({"dns": {"guest0": {"records": {"late": ["10.1.1.77"]}}}})
    running = lab.get("/v1/config")
    lab.power_cut()
    # Before anybody asked the API for anything.
    until(lab.works, seconds=20)
    assert lab["vm1"].dig("late.a.example", server="10.1.1.1") == ["10.1.1.77"]
    assert lab.ready()
    assert lab.get("/v1/config") == running
    assert lab.drift() == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"id": "x"}', '{"id": "x", "document": {"role": "router"}}', "\0"]
)
def test_a_document_that_was_damaged_leaves_a_safe_router_that_can_be_pushed_to(
    lab: Lab, content: str
) -> None:
    (lab.state / "document.json").write_text(content)
    (lab.state / "patches.jsonl").unlink(missing_ok=True)
    lab.kill_agent()
    status = lab.ready()
    assert status["generation"] == 0
    assert not lab["vm1"].ping("198.51.100.80")
    assert lab["net"].refused(FORWARDS, 8080)
    assert lab.request("PATCH", "/v1/config", {"routes": {}}).status == 409
    lab.put(document())
    lab.works()


def test_a_torn_patch_is_left_out_and_later_ones_are_kept(lab: Lab) -> None:
    def record(name: str) -> dict[str, Any]:
        return {"dns": {"guest0": {"records": {name: ["10.1.1.70"]}}}}

    lab.patch(record("first"))
    generation = lab.get("/v1/config")["generation"]
    patches = lab.state / "patches.jsonl"
    whole = patches.read_bytes()
    assert whole.endswith(b"\n")
    patches.write_bytes(whole + whole.splitlines()[-1][:40])
    lab.kill_agent()
    assert lab.ready()["generation"] == generation
    lab.patch(record("second"))
    lab.kill_agent()
    running = lab.get("/v1/config")
    assert running["generation"] == generation + 1
    assert set(running["dns"]["guest0"]["records"]) == {"first", "second"}
