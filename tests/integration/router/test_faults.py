"""Whatever breaks, the router runs its last good document, says what is wrong, and mends itself."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from router_document import VM1, document
from router_lab import FORWARDS, PUBLIC, STATIC, UPSTREAMS, Lab, until

AGENT = "sysvm-agent.service"
DNSMASQ = "sysvm-dnsmasq@guest0.service"
METADATA = "sysvm-metadata.service"


def works(lab: Lab) -> None:
    """Names, forwards and metadata are there for clients."""
    assert lab["vm1"].dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
    assert lab["net"].ask(FORWARDS, 8080) == "vm1:80 saw 203.0.113.1"
    assert lab["vm1"].http("/latest/meta-data/instance-id", server="10.1.1.1").text.strip() == "i-1"


def refuses_route() -> dict[str, Any]:
    """A document that the model takes and the kernel doesn't: a gateway that is the broadcast address."""
    bad = document()
    bad["routes"] = {"bad": {"destination": "192.0.2.0/24", "gateway": "10.1.1.255"}}
    bad["dhcp"]["guest0"]["lease_seconds"] = 7200
    bad["interfaces"]["guest0"]["mtu"] = 1400
    return bad


def kill_agent(lab: Lab) -> None:
    process = lab.unit(AGENT, "MainPID")
    lab.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", AGENT)
    until(lambda: lab.unit(AGENT, "MainPID") not in (process, "0"), what="the agent is restarted")
    lab.ready()


# --- daemons and drift --------------------------------------------------------------------------------


def test_killed_daemons_come_back_and_the_router_stays_converged(lab: Lab) -> None:
    before = {unit: lab.unit(unit, "MainPID") for unit in (DNSMASQ, METADATA)}
    for process in before.values():
        lab.run("kill", "-KILL", process)
    until(lambda: works(lab) or True, seconds=15)
    for unit, process in before.items():
        assert lab.unit(unit, "MainPID") not in ("0", process)
    kill_agent(lab)
    assert lab.settled()["generation"] == lab.get("/v1/config")["generation"]
    assert lab.drift() == []
    # Nor does the next look find anything to do.
    healed = lab.request("GET", "/metrics").text
    time.sleep(21)
    assert lab.status()["state"] == "converged", lab.status()
    line = "sysvm_drift_healed_total "
    assert [x for x in lab.request("GET", "/metrics").text.splitlines() if x.startswith(line)][0] in (
        healed,
        f"{line}0",
        f"{line}1",
    )


DAMAGE = {
    "file edited": ("echo interface=lo >> /run/sysvm/dnsmasq/guest0/dnsmasq.conf", "dnsmasq/guest0/dnsmasq.conf"),
    "records edited": ("echo 10.1.1.66 evil >> /run/sysvm/dnsmasq/guest1/hosts/base", "dnsmasq/guest1/hosts"),
    "record put in": ("echo 10.1.1.67 evil > /run/sysvm/dnsmasq/guest0/hosts/added/x", "dnsmasq/guest0/hosts"),
    "file removed": ("rm /run/sysvm/metadata/config.json", "metadata/config.json"),
    "file put in": ("touch /run/sysvm/dnsmasq/guest0/more.conf", "dnsmasq/guest0/more.conf"),
    "rules flushed": ("nft flush chain inet sysvm forward", "Ruleset sysvm"),
    "accounting flushed": ("nft flush chain inet sysvm_usage forward", "Counter"),
    "counter's element removed": (
        'nft delete element inet sysvm_usage network_sent "{ \\"guest0\\" }"',
        "Counter",
    ),
    "checksum rules flushed": ("iptables-legacy -t mangle -F SYSVM", "ChecksumFill"),
    "address deleted": ("ip address del 10.1.2.1/24 dev guest1", "10.1.2.1/24"),
    "route deleted": ("ip route del default", "0.0.0.0/0"),
    "public addresses deleted": (f"ip address del {PUBLIC}/24 dev public0", PUBLIC),
    "setting changed": ("sysctl -qw net.ipv4.ip_forward=0", "ip_forward"),
    "unit stopped": ("systemctl stop sysvm-metadata.service", "sysvm-metadata"),
    "link down": ("ip link set guest1 down", "guest1"),
    "mtu changed": ("ip link set guest0 mtu 1300", "mtu 1450"),
}  # fmt: skip
FOREIGN = {
    "nft list table inet other": "nft add table inet other",
    "ip address show dev guest0 | grep 10.99.0.1/24": "ip address add 10.99.0.1/24 dev guest0",
    "ip route show 192.0.2.128/25 | grep dev": "ip route add 192.0.2.128/25 dev guest0",
}


def test_drift_of_every_kind_is_found_and_healed_within_a_minute(lab: Lab) -> None:
    for make in FOREIGN.values():
        lab.sh(make)
    since = lab.run("date", "+%Y-%m-%d %H:%M:%S").strip()
    # One second, so that the journal can tell what came after.
    time.sleep(1)
    for command, _ in DAMAGE.values():
        lab.sh(command)
    broken = time.monotonic()
    until(lambda: works(lab) or True, seconds=60, pause=1)
    until(lambda: lab.drift() == [] and lab.status()["state"] == "converged", seconds=60, pause=1)
    assert time.monotonic() - broken < 60
    journal = lab.run("journalctl", "--no-pager", "-o", "cat", "-u", AGENT, "--since", since)
    drift = [line for line in journal.splitlines() if "Drift:" in line]
    for name, (_, said) in DAMAGE.items():
        assert any(said in line for line in drift), (name, drift)
    assert lab.run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "1"
    assert lab["vm1"].dig("evil", server="10.1.1.1") == "NXDOMAIN"
    # The router's own packets leave by the first address again, whatever was put back when.
    assert f"src {PUBLIC} " in lab.run("ip", "route", "get", "198.51.100.80")
    for look in FOREIGN:
        lab.sh(look)
    usage = lab.get("/v1/usage")["network-guest0"]["sent"]["packets"]
    lab["vm1"].ask("198.51.100.80", 80)
    assert lab.get("/v1/usage")["network-guest0"]["sent"]["packets"] > usage
    lab.sh(
        "nft delete table inet other; ip address del 10.99.0.1/24 dev guest0; ip route del 192.0.2.128/25"
    )


def test_health_is_red_while_a_daemon_is_frozen_or_gone(lab: Lab) -> None:
    assert lab.get("/v1/health?fresh")["ok"]
    for unit, names in ((DNSMASQ, {"dns guest0", "dhcp guest0"}), (METADATA, {"metadata"})):
        for signal, undo in (("STOP", "CONT"),):
            process = lab.unit(unit, "MainPID")
            lab.run("kill", f"-{signal}", process)
            try:
                health = lab.get("/v1/health?fresh")
            finally:
                lab.run("kill", f"-{undo}", process)
            assert not health["ok"]
            assert {check["name"] for check in health["checks"] if not check["ok"]} == names
            assert all(check["detail"] for check in health["checks"])
        lab.run("systemctl", "stop", unit)
        health = lab.get("/v1/health?fresh")
        assert names <= {check["name"] for check in health["checks"] if not check["ok"]}
        lab.run("systemctl", "start", unit)
    until(lambda: lab.get("/v1/health?fresh")["ok"], what="healthy again")


# --- crashes ------------------------------------------------------------------------------------------


@pytest.fixture
def crashing(shared_lab: Lab) -> Iterator[Lab]:
    yield shared_lab
    shared_lab.sh("rm -rf /run/systemd/system/sysvm-agent.service.d; systemctl daemon-reload")
    kill_agent(shared_lab)


def crash_next_at(lab: Lab, step: int) -> None:
    """The agent that is started next kills itself before this step."""
    lab.sh(
        "d=/run/systemd/system/sysvm-agent.service.d; mkdir -p $d; "
        f"printf '[Service]\\nEnvironment=SYSVM_CRASH_AT={step}\\n' > $d/crash.conf; systemctl daemon-reload"
    )


def push_crashing_at_each_step(lab: Lab, pushed: dict[str, Any]) -> int:
    """Push until no step is left to crash before; after each crash what ran before must run."""
    before = lab.get("/v1/config")
    crash_next_at(lab, 0)
    kill_agent(lab)
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
    works(lab)
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
    works(lab)
    assert lab.drift() == []


def clear_state(lab: Lab) -> None:
    for name in ("document.json", "patches.jsonl", "document.candidate"):
        (lab.state / name).unlink(missing_ok=True)


# --- power --------------------------------------------------------------------------------------------


def test_a_power_cut_brings_back_the_last_good_document_by_itself(lab: Lab) -> None:
    lab.patch({"dns": {"guest0": {"records": {"late": ["10.1.1.77"]}}}})
    running = lab.get("/v1/config")
    lab.power_cut()
    # Before anybody asked the API for anything.
    until(lambda: works(lab) or True, seconds=20)
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
    kill_agent(lab)
    status = lab.ready()
    assert status["generation"] == 0
    assert not lab["vm1"].ping("198.51.100.80")
    assert lab["net"].refused(FORWARDS, 8080)
    assert lab.request("PATCH", "/v1/config", {"routes": {}}).status == 409
    lab.put(document())
    works(lab)


def test_a_torn_patch_is_left_out_and_later_ones_are_kept(lab: Lab) -> None:
    def record(name: str) -> dict[str, Any]:
        return {"dns": {"guest0": {"records": {name: ["10.1.1.70"]}}}}

    lab.patch(record("first"))
    generation = lab.get("/v1/config")["generation"]
    patches = lab.state / "patches.jsonl"
    whole = patches.read_bytes()
    assert whole.endswith(b"\n")
    patches.write_bytes(whole + whole.splitlines()[-1][:40])
    kill_agent(lab)
    assert lab.ready()["generation"] == generation
    lab.patch(record("second"))
    kill_agent(lab)
    running = lab.get("/v1/config")
    assert running["generation"] == generation + 1
    assert set(running["dns"]["guest0"]["records"]) == {"first", "second"}


# --- confirmed changes --------------------------------------------------------------------------------


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
    kill_agent(lab)
    assert "trial" in lab.get("/v1/config")["dns"]["guest0"]["records"]


def test_an_unconfirmed_change_doesnt_survive_a_power_cut_or_a_crash(lab: Lab) -> None:
    before = lab.get("/v1/config")
    changed = document()
    changed["interfaces"]["guest0"]["mtu"] = 1300
    lab.put(changed, query="?confirm=60")
    kill_agent(lab)
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


# --- applies that fail --------------------------------------------------------------------------------


def test_a_failing_apply_goes_back_and_says_which_step(unharmed: Lab) -> None:
    error = unharmed.put(refuses_route(), status=500)
    assert "route 192.0.2.0/24 via 10.1.1.255" in error["detail"]
    assert "Went back" in error["detail"]
    works(unharmed)

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
    works(lab)
    assert lab.drift() == []


# --- disks --------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Lab]:
    """The state directory on a tmpfs of 1 MB."""
    lab.sh("systemctl stop sysvm-agent; cp -a /var/lib/sysvm /run/kept; "
           "mount -t tmpfs -o size=1m,mode=755 none /var/lib/sysvm; cp -a /run/kept/. /var/lib/sysvm/; "
           "systemctl start sysvm-agent")  # fmt: skip
    lab.ready()
    yield lab
    lab.sh(
        "systemctl stop sysvm-agent; umount -l /var/lib/sysvm; rm -rf /run/kept; systemctl start sysvm-agent"
    )
    lab.ready()


def fill(lab: Lab, directory: str) -> None:
    lab.sh(f"dd if=/dev/zero of={directory}/filling bs=4k 2>/dev/null || true; sync")


def test_a_full_disk_refuses_the_push_and_changes_nothing(small_disk: Lab) -> None:
    lab = small_disk
    before = lab.get("/v1/config")
    fill(lab, "/var/lib/sysvm")
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
    until(lambda: works(lab) or True)
    # Traffic is told all the same, and the agent starts.
    assert lab.get("/v1/usage")["network-guest0"]
    kill_agent(lab)
    assert lab.get("/v1/config") == before
    assert not [name for name in lab.run("ls", "-A", "/var/lib/sysvm").split() if name.startswith(".")]
    lab.run("rm", "/var/lib/sysvm/filling")
    lab.put(changed)
    works(lab)
    assert lab.drift() == []


def test_a_full_run_directory_goes_back_and_is_healed(lab: Lab) -> None:
    before = lab.get("/v1/config")
    lab.sh("cp -a /run/sysvm /root/kept; mount -t tmpfs -o size=2m,mode=755 none /run/sysvm; "
           "cp -a /root/kept/. /run/sysvm/; rm -r /root/kept")  # fmt: skip
    try:
        fill(lab, "/run/sysvm")
        changed = document()
        changed["dns"]["guest0"]["records"] = {f"n{i}": ["10.1.1.70"] for i in range(500)}
        answer = lab.request("PUT", "/v1/config", changed | {"generation": before["generation"] + 1})
        assert answer.status in (500, 507), answer
        assert lab.get("/v1/config") == before
        works(lab)
    finally:
        lab.sh("umount -l /run/sysvm")
    lab.settled(seconds=60)
    lab.put(changed)
    works(lab)
    assert lab.drift() == []


def test_one_apply_at_a_time(lab: Lab) -> None:
    """Pushes at once are taken one after the other: each is answered, the newest runs."""
    import threading

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
