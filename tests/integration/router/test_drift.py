"""What changes behind the agent's back is found and mended, and daemons that die come back."""

import time

from router_lab import PUBLIC, Lab, until

AGENT = "sysvm-agent.service"
DNSMASQ = "sysvm-dnsmasq@guest0.service"
METADATA = "sysvm-metadata.service"


def test_killed_daemons_come_back_and_the_router_stays_converged(lab: Lab) -> None:
    before = {unit: lab.unit(unit, "MainPID") for unit in (DNSMASQ, METADATA)}
    for process in before.values():
        lab.run("kill", "-KILL", process)
    until(lab.works, seconds=15)
    for unit, process in before.items():
        assert lab.unit(unit, "MainPID") not in ("0", process)
    lab.kill_agent()
    assert lab.settled()["generation"] == lab.get("/v1/config")["generation"]
    assert lab.drift() == []
    # Nor does the next look find anything to do.
    lab.settled()
    healed = healings(lab)
    time.sleep(21)
    assert lab.status()["state"] == "converged", lab.status()
    assert healings(lab) == healed


def healings(lab: Lab) -> str:
    lines = lab.request("GET", "/metrics").text.splitlines()
    return next(line for line in lines if line.startswith("sysvm_drift_healed_total "))


RUN = "/run/sysvm"
DAMAGE = {
    "file edited": (f"echo interface=lo >> {RUN}/dnsmasq/guest0/dnsmasq.conf", "guest0/dnsmasq.conf"),
    "records edited": (f"echo 10.1.1.66 evil >> {RUN}/dnsmasq/guest1/hosts/base", "dnsmasq/guest1/hosts"),
    "record put in": (f"echo 10.1.1.67 evil > {RUN}/dnsmasq/guest0/hosts/added/x", "dnsmasq/guest0/hosts"),
    "file removed": (f"rm {RUN}/metadata/config.json", "metadata/config.json"),
    "file put in": (f"touch {RUN}/dnsmasq/guest0/more.conf", "dnsmasq/guest0/more.conf"),
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
    until(lab.works, seconds=60, pause=1)
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
    for unit, names in (
        (DNSMASQ, {"dns guest0", "dhcp guest0"}),
        (METADATA, {"metadata", "metadata guest0"}),
    ):
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
