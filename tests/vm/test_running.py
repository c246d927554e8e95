"""A router that runs: what its kernel can do, that it is closed, cards that come and go, time, no room."""

import json
import time
from typing import Any

import pytest

from appliance.management.client import FailedError
from tests.vm import internet
from tests.vm.between import until
from tests.vm.documents import PUBLIC
from tests.vm.emulated import PATIENCE, Emulated
from tests.vm.internet import Internet

GUEST = "02:00:00:00:01:05"
BASE: dict[str, Any] = {
    "role": "router",
    "name": "r1",
    "interfaces": {
        "public0": {"mac": PUBLIC, "addresses": ["203.0.113.2/24"], "gateway": internet.ADDRESS},
    },
}


def push(router: Emulated, **sections: Any) -> None:
    """Have this document, as the next generation."""
    with router.agent() as agent:
        generation = agent.status().generation + 1
        report = agent.put(json.dumps({**BASE, **sections, "generation": generation}))
    assert report.state == "converged"


def red(router: Emulated) -> dict[str, str]:
    """The checks that fail, and why."""
    with router.agent() as agent:
        checks = agent.health(fresh=True)["checks"]
    return {check["name"]: check["detail"] for check in checks if not check["ok"]}


def wait_for_health(router: Emulated, expected: set[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while set(found := red(router)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(1)


def test_the_kernel_can_do_all_that_routers_want(running: Emulated) -> None:
    capabilities = running.wait_until_it_answers().answer["capabilities"]
    assert {"flowtable", "wireguard", "ipsec", "htb", "fq_codel"} <= capabilities.keys()
    assert all(capabilities.values()), capabilities
    # The association that asked for ESP is gone again.
    assert running.run("ip", "xfrm", "state") == ""


def test_it_is_closed_and_read_only(running: Emulated) -> None:
    push(running)
    assert running.run("systemctl", "--failed", "--no-legend", "--plain") == ""
    assert running.run("findmnt", "--noheadings", "--output", "OPTIONS", "/").startswith("ro")
    passwords = running.run("cut", "-d:", "-f2", "/etc/shadow").split()
    assert set(passwords) <= {"*", "!", "!*"}
    listening = {line.split()[4] for line in running.run("ss", "-Hlntu").splitlines()}
    assert listening == {"10.0.2.15:8443"}
    assert "RuntimeWatchdogUSec=30s" in running.run("systemctl", "show", "--property=RuntimeWatchdogUSec")
    # The journal is with the state, and starts with the boot.
    assert "Linux version" in running.run("journalctl", "--directory=/var/log/journal", "--boot", "--dmesg")
    for unit in ("sysvm-state.service", "sysvm-agent.service"):
        assert running.run("systemctl", "is-active", unit).strip() == "active"


def test_its_state_is_on_the_disk_that_is_meant_for_it(running: Emulated) -> None:
    assert "state disk: blank; making a file system" in running.console
    place = running.run("findmnt", "--noheadings", "--output", "SOURCE", "/var/lib/sysvm").strip()
    assert running.run("cat", f"/sys/class/block/{place.removeprefix('/dev/')}/serial") == "sysvm-state"
    assert running.wait_until_it_answers().answer["storage"] == "disk"


def test_a_card_is_plugged_in_and_pulled(running: Emulated) -> None:
    guest = {"mac": GUEST, "addresses": ["10.1.5.1/24"]}
    push(
        running,
        interfaces={**BASE["interfaces"], "guest5": guest},
        dns={"guest5": {"domain": "e.example"}},
        dhcp={"guest5": {"ranges": [{"first": "10.1.5.10", "last": "10.1.5.20"}]}},
    )
    absent = {"link guest5", "dns guest5", "dhcp guest5"}
    wait_for_health(running, absent)
    assert red(running)["link guest5"] == "There is no network card for guest5"
    running.monitor("netdev_add", type="user", id="later", restrict=True)
    for _ in range(2):
        running.monitor(
            "device_add", driver="virtio-net-pci", id="card", netdev="later", mac=GUEST, bus="free"
        )
        wait_for_health(running, set())
        assert "10.1.5.1/24" in running.run("ip", "address", "show", "guest5")
        running.monitor("device_del", id="card")
        wait_for_health(running, absent)
        # What the card took along is drift until the agent has looked.
        until(lambda: running.wait_until_it_answers().state == "converged")
        wait_until_gone(running, "card")
    push(running)
    assert red(running) == {}


def wait_until_gone(running: Emulated, device: str) -> None:
    """Until QEMU has taken a device out, too, which comes after the machine has let it go."""
    deadline = time.monotonic() + PATIENCE
    while any(item["name"] == device for item in running.monitor("qom-list", path="/machine/peripheral")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_it_has_the_time_of_the_server_that_the_document_names(running: Emulated, outside: Internet) -> None:
    nobody, server = "203.0.113.9", internet.ADDRESS
    push(running, ntp={"servers": [nobody]})
    wait_for_health(running, {"time"})
    assert f"{nobody} doesn't tell the time" in red(running)["time"]
    assert clock(running) < time.time() + internet.AHEAD / 2
    push(running, ntp={"servers": [nobody, server]})
    wait_for_time(running)
    wait_for_health(running, set())
    # Set by somebody else, it is set right again.
    running.run("date", f"--set=@{int(time.time())}")
    wait_for_time(running)
    # Without servers nobody is asked, and the clock goes on.
    push(running)
    unit = running.run("systemctl", "show", "--property=ActiveState", "sysvm-time")
    assert unit.strip() == "ActiveState=inactive"
    assert outside.clock.asked > 0


def clock(running: Emulated) -> float:
    return float(running.run("date", "+%s"))


def wait_for_time(running: Emulated) -> None:
    """Until the machine has the time server's time."""
    deadline = time.monotonic() + PATIENCE
    while clock(running) < time.time() + internet.AHEAD / 2:
        assert time.monotonic() < deadline, running.run("journalctl", "--unit=sysvm-time", "--no-pager")
        time.sleep(0.5)


def test_a_full_disk_refuses_what_is_new_and_keeps_what_is(running: Emulated) -> None:
    push(running, dns={})
    generation = running.wait_until_it_answers().generation
    # Again and again: what was set aside for writing is given back when it is written.
    fill = "for n in 1 2 3 4 5; do cat /dev/zero >/var/lib/sysvm/filling$n; sync; done"
    running.run("sh", "-c", f"{fill}; exit 0")
    with pytest.raises(FailedError, match="No space left") as refused:
        push(running)
    assert refused.value.status == 507
    status = running.wait_until_it_answers()
    assert (status.state, status.generation) == ("converged", generation)
    assert status.answer["storage"] == "disk, full"
    assert red(running) == {}
    running.cut_power()
    running.start_again()
    status = running.wait_until_it_answers()
    assert (status.state, status.generation) == ("converged", generation)
    assert status.answer["storage"] == "disk, full"
    running.run("sh", "-c", "rm /var/lib/sysvm/filling*")
    push(running)
    assert running.wait_until_it_answers().answer["storage"] == "disk"
