"""Changes that nobody confirms, that can't be applied, or that there is no room for: back it goes."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from router_document import VM1, document
from router_lab import FORWARDS, STATIC, UPSTREAMS, Lab, until


def refuses_route() -> dict[str, Any]:
    """A document that the model takes and the kernel doesn't: a gateway that is the broadcast address."""
    bad = document()
    bad["routes"] = {"bad": {"destination": "192.0.2.0/24", "gateway": "10.1.1.255"}}
    bad["dhcp"]["guest0"]["lease_seconds"] = 7200
    bad["interfaces"]["guest0"]["mtu"] = 1400
    return bad


def test_an_unconfirmed_change_goes_back_and_a_confirmed_one_stays(lab: Lab) -> None:
    before = lab.get("/v1/config")
    changed = document()
    changed["dns"]["guest0"]["records"] = {"trial": ["10.1.1.70"]}
    assert lab.put(changed, query="?confirm=2")["state"] == "unconfirmed"
    assert lab["vm1"].dig("trial.a.example", server="10.1.1.1") == ["10.1.1.70"]
    until(lambda: lab.get("/v1/config") == before, seconds=6)
    until(lambda: lab["vm1"].dig("trial.a.example", server="10.1.1.1") == "NXDOMAIN")
    assert lab.settled()

    lab.patch({"dns": {"guest0": {"records": {"trial": ["10.1.1.71"]}}}}, query="?confirm=2")
    until(lambda: lab.get("/v1/config") == before, seconds=6)

    lab.put(changed, query="?confirm=2")
    assert lab.request("POST", "/v1/confirm", b"").json["state"] == "converged"
    assert lab.request("POST", "/v1/confirm", b"").status == 409
    time.sleep(2.5)
    assert "trial" in lab.get("/v1/config")["dns"]["guest0"]["records"]
    lab.kill_agent()
    assert "trial" in lab.get("/v1/config")["dns"]["guest0"]["records"]


def test_an_unconfirmed_change_doesnt_survive_a_power_cut_or_a_crash(lab: Lab) -> None:
    before = lab.get("/v1/config")
    changed = document()
    changed["interfaces"]["guest0"]["mtu"] = 1300
    lab.put(changed, query="?confirm=60")
    lab.kill_agent()
    assert lab.get("/v1/config") == before
    assert lab.settled()
    lab.put(changed, query="?confirm=60")
    lab.power_cut()
    assert lab.ready()
    assert lab.get("/v1/config") == before
    assert lab.run("cat", "/sys/class/net/guest0/mtu").strip() == "1450"


def test_pushes_while_a_change_waits_to_be_confirmed(lab: Lab) -> None:
    before = lab.get("/v1/config")
    changed = document()
    changed["dns"]["guest0"]["records"] = {"trial": ["10.1.1.70"]}
    lab.put(changed, query="?confirm=4")
    # Refused pushes don't end the wait, in one way or the other.
    assert lab.put(document() | {"colour": 1}, status=422)
    assert lab.patch({"colour": 1}, status=422)
    bad = document()
    bad["dhcp"]["guest0"]["options"] = {"extra": {"44": "somewhere"}}
    assert lab.put(bad, status=422)
    assert lab.patch({"dhcp": {"guest0": {"options": {"extra": {"44": "somewhere"}}}}}, status=422)
    assert lab.status()["state"] == "unconfirmed"
    until(lambda: lab.get("/v1/config") == before, seconds=8)
    # A change that fails goes back to what was confirmed last.
    lab.put(changed, query="?confirm=60")
    lab.put(refuses_route(), status=500)
    assert lab.get("/v1/config") == before
    assert lab.status()["state"] == "converged"
    assert lab.drift() == []


def test_a_failing_apply_goes_back_and_says_which_step(unharmed: Lab) -> None:
    error = unharmed.put(refuses_route(), status=500)
    assert "route 192.0.2.0/24 via 10.1.1.255" in error["detail"]
    assert "Went back" in error["detail"]
    unharmed.works()

    # A unit that can't start: somebody took its binary away.
    more = document()
    more["interfaces"]["guest1"]["mtu"] = 1400
    more["dns"]["guest1"]["domain"] = "c.example"
    unharmed.sh("mount --bind /bin/false /usr/sbin/dnsmasq")
    try:
        error = unharmed.put(more, status=422)
    finally:
        unharmed.sh("umount /usr/sbin/dnsmasq")
    assert "dnsmasq" in error["detail"]


def test_degraded_where_going_back_fails_too_and_healed_once_it_can_be(lab: Lab) -> None:
    before = lab.get("/v1/config")
    # Nothing can be written below it any more, and what is there is in the way.
    lab.sh("mount -t tmpfs -o size=4k,ro none /run/sysvm/dnsmasq")
    try:
        changed = document()
        changed["interfaces"]["guest0"]["mtu"] = 1400
        changed["dhcp"]["guest0"]["lease_seconds"] = 7200
        lab.put(changed, status=500)
        status = lab.status()
        assert status["state"] == "degraded"
        assert "dnsmasq" in status["detail"]
        assert lab.get("/v1/config") == before
        # The firewall is up all the same.
        assert lab["net"].ask(FORWARDS, 8080) == "vm1:80 saw 203.0.113.1"
        assert lab["net"].refused(STATIC, 81)
    finally:
        lab.sh("umount /run/sysvm/dnsmasq")
    assert lab.settled(seconds=60)["detail"] == ""
    lab.works()
    assert lab.drift() == []


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Lab]:
    """The state directory on a tmpfs of 3 MB."""
    lab.sh("systemctl stop sysvm-agent; cp -a /var/lib/sysvm /run/kept; "
           "mount -t tmpfs -o size=3m,mode=755 none /var/lib/sysvm; cp -a /run/kept/. /var/lib/sysvm/; "
           "systemctl start sysvm-agent")  # fmt: skip
    lab.ready()
    yield lab
    # Daemons that were started meanwhile have it in namespaces of their own: all of it has to go.
    lab.power_cut()
    lab.ready()


def fill(lab: Lab, directory: str) -> None:
    lab.sh(f"dd if=/dev/zero of={directory}/filling bs=4k 2>/dev/null || true; sync")


def test_a_full_disk_refuses_the_push_and_changes_nothing(small_disk: Lab) -> None:
    lab = small_disk
    before = lab.get("/v1/config")
    assert lab.status()["storage"] == "disk"
    fill(lab, "/var/lib/sysvm")
    assert lab.status()["storage"] == "disk, full"
    changed = document()
    changed["dns"]["guest0"]["records"] = {f"n{i}": ["10.1.1.70"] for i in range(500)}
    changed["metadata"]["guest0"]["guests"][VM1]["password"] = "correct horse"
    answer = lab.put(changed, status=507)
    assert "No space" in answer["detail"]
    assert lab.get("/v1/config") == before
    assert lab["vm1"].dig("n1.a.example", server="10.1.1.1") == "NXDOMAIN"
    lab.patch({"dns": changed["dns"]}, status=507)
    assert lab.get("/v1/config") == before
    # A change that waits is still waited for when it can't be kept.
    lab.put(changed | {"metadata": {}}, query="?confirm=3")
    assert lab.request("POST", "/v1/confirm", b"").status == 507
    until(lambda: lab.get("/v1/config") == before, seconds=10, what="it goes back")
    until(lab.works)
    # Traffic is told all the same, and the agent starts.
    assert lab.get("/v1/usage")["network-guest0"]
    lab.kill_agent()
    assert lab.get("/v1/config") == before
    assert not [name for name in lab.run("ls", "-A", "/var/lib/sysvm").split() if name.startswith(".")]
    lab.run("rm", "/var/lib/sysvm/filling")
    lab.put(changed)
    lab.works()
    assert lab.drift() == []


def test_a_full_run_directory_goes_back_and_is_healed(lab: Lab) -> None:
    before = lab.get("/v1/config")
    lab.sh("cp -a /run/sysvm /var/tmp/kept; mount -t tmpfs -o size=2m,mode=755 none /run/sysvm; "
           "cp -a /var/tmp/kept/. /run/sysvm/; rm -r /var/tmp/kept")  # fmt: skip
    try:
        fill(lab, "/run/sysvm")
        changed = document()
        changed["dns"]["guest0"]["records"] = {f"n{i}": ["10.1.1.70"] for i in range(500)}
        answer = lab.request("PUT", "/v1/config", changed | {"generation": before["generation"] + 1})
        assert answer.status in (500, 507), answer
        assert lab.get("/v1/config") == before
        lab.works()
    finally:
        lab.sh("umount -l /run/sysvm")
    lab.settled(seconds=60)
    lab.put(changed)
    lab.works()
    assert lab.drift() == []


def test_one_apply_at_a_time(lab: Lab) -> None:
    """Pushes at once are taken one after the other: each is answered, the newest runs."""
    generation = lab.get("/v1/config")["generation"]
    answers: list[tuple[int, int]] = []

    def push(number: int) -> None:
        changed = document()
        changed["dns"]["guest0"]["records"] = {f"n{number}": ["10.1.1.70"]}
        body = changed | {"generation": generation + number}
        with contextlib.suppress(OSError):
            answers.append((number, lab.request("PUT", "/v1/config", body).status))

    threads = [threading.Thread(target=push, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert {status for _, status in answers} <= {200, 409}
    newest = max(number for number, status in answers if status == 200)
    assert newest == 8
    running = lab.get("/v1/config")
    assert json.dumps(running["dns"]["guest0"]["records"]) == '{"n8": ["10.1.1.70"]}'
    assert lab.drift() == []
    assert UPSTREAMS[0] in json.dumps(running)
