"""A redundant pair in trouble: what moves it, what doesn't, and what is said of it."""

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time

import pair_lab
from flows import Flow
from pair_lab import PairLab, advertisements, announcements, listening, offers
from router_lab import WEB, inside, until

_ARP, _IPV6 = 0x0806, 0x86DD


def test_a_link_that_fails_moves_it(pair: PairLab) -> None:
    with Flow(pair["vm1"], WEB, 7, udp=False, interval=0.05) as flow, pair.unplugged("r1", "public0"):
        until(lambda: pair.state("r2") == "primary", seconds=5)
        moved = time.monotonic()
        until(lambda: flow.answered_after(moved) is not None, seconds=5)
        assert pair.redundancy("r1")["faults"] == ["public0 has no carrier"]
        assert pair.settled() == "r2"
    until(lambda: pair.redundancy("r1")["faults"] == [])
    assert pair.settled() == "r2", "without preempt it stays where it is"


def test_the_same_fault_on_both_moves_nothing(pair: PairLab) -> None:
    changes = pair.changes()
    pair["net"].run("ip", "link", "set", "eth0", "down")
    try:
        fault = ["Gateway 203.0.113.1 on public0 doesn't answer"]
        for name in pair.routers:
            until(lambda name=name: pair.redundancy(name)["faults"] == fault, seconds=10)
        time.sleep(2)
        assert pair.settled() == "r1"
        assert pair["vm1"].dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
        # One more on the primary, and the other is the better one.
        with pair.unplugged("r1", "guest0"):
            until(lambda: pair.state("r2") == "primary", seconds=5)
    finally:
        pair["net"].run("ip", "link", "set", "eth0", "up")
        for address in (WEB, "198.51.100.99", "198.51.100.53", "198.51.100.54"):
            pair["net"].run("ip", "address", "replace", f"{address}/32", "dev", "lo")
    assert pair.changes() == {"r1": changes["r1"] + 1, "r2": changes["r2"] + 1}
    until(lambda: pair.redundancy("r1")["faults"] == pair.redundancy("r2")["faults"] == [], seconds=10)


def test_a_gateway_that_one_cannot_reach_moves_it(pair: PairLab) -> None:
    """Its cable is in, and somewhere behind it there is a break."""
    with pair.parted("r1", "public0", "net"):
        until(lambda: pair.state("r2") == "primary", seconds=10)
        assert pair.redundancy("r1")["faults"] == ["Gateway 203.0.113.1 on public0 doesn't answer"]
    assert pair.settled() == "r2"


def test_busy_processors_move_nothing(pair: PairLab) -> None:
    """Each with two processes that never rest and go before almost all others."""
    changes = pair.changes()
    busy = ["nice", "-n", "-10", "timeout", "20", "sh", "-c", "while :; do :; done"]
    with contextlib.ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            stack.enter_context(subprocess.Popen(busy))
    assert pair.changes() == changes


def test_a_daemon_that_stays_dead_moves_it_and_one_that_comes_back_does_not(pair: PairLab) -> None:
    changes = pair.changes()
    pair.run("r1", "systemctl", "kill", "--signal=KILL", "sysvm-dnsmasq@guest0")
    time.sleep(5)
    assert pair.changes() == changes
    drop = "/run/systemd/system/sysvm-dnsmasq@guest0.service.d"
    pair.routers["r1"].sh(f"mkdir -p {drop}; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' "
                          f"> {drop}/broken.conf; systemctl daemon-reload; "
                          "systemctl kill --signal=KILL sysvm-dnsmasq@guest0")  # fmt: skip
    try:
        until(lambda: pair.state("r2") == "primary", seconds=15)
        assert "sysvm-dnsmasq@guest0.service doesn't run" in pair.redundancy("r1")["faults"]
        assert [server for _, server in offers(pair["vm2"])] == ["10.1.1.1"]
    finally:
        pair.routers["r1"].sh(
            f"rm -r {drop}; systemctl daemon-reload; systemctl restart sysvm-dnsmasq@guest0"
        )
    until(lambda: pair.redundancy("r1")["faults"] == [], seconds=10)
    assert pair.settled() == "r2"


def test_two_primaries_are_seen_reported_and_healed(pair: PairLab) -> None:
    wrong = {"redundancy peer", "redundancy split-brain"}
    with pair.deaf("r1"), pair.deaf("r2"):
        until(lambda: pair.state("r1") == pair.state("r2") == "primary", seconds=5)
        for name in pair.routers:
            until(lambda name=name: pair.redundancy(name)["split_brain"], seconds=10)
            until(lambda name=name: pair.redundancy(name)["conflicts"], seconds=10)
            until(lambda name=name: pair.failed_checks(name).keys() == wrong, seconds=10)
            failed = pair.failed_checks(name)
            assert "Both routers are primary" in failed["redundancy split-brain"]
            assert "sysvm_redundancy_split_brain 1" in pair.routers[name].request("GET", "/metrics").text
        with listening(pair["vm1"], _ARP) as frames, listening(pair["vm1"], _IPV6) as frames6:
            time.sleep(0.2)
            frames.clear()
            pair.run("r1", "nft", "flush", "table", "inet", "deaf")
            pair.run("r2", "nft", "flush", "table", "inet", "deaf")
            healed = time.monotonic()
            primary = pair.settled()
            time.sleep(2)
    assert primary == "r1", "of two that were primary the priority decides"
    mac = pair_lab.macs("r1")["guest0"]
    assert announcements(frames, "10.1.1.1", mac, after=healed) >= 5
    assert advertisements(frames6, mac, after=healed) >= 5
    for name in pair.routers:
        until(lambda name=name: pair.failed_checks(name) == {}, seconds=10)
    assert pair["vm1"].ping(WEB)


def test_daemons_that_are_killed_come_back(pair: PairLab) -> None:
    for unit in ("sysvm-keepalived", "sysvm-conntrackd", "sysvm-pair"):
        for name in ("r2", "r1"):
            pair.run(name, "systemctl", "kill", "--signal=KILL", unit)
            until(
                lambda name=name, unit=unit: pair.routers[name].unit(unit, "ActiveState") == "active",
                seconds=10,
            )
            assert pair.settled() in pair.routers
    assert pair["vm1"].ping(WEB)
    for name, router in pair.routers.items():
        until(lambda router=router: router.drift() == [], seconds=30)
        until(lambda name=name: pair.failed_checks(name) == {}, seconds=10)


def test_both_lose_power(pair: PairLab) -> None:
    pair.make_primary("r2")
    for name in pair.routers:
        pair.containers.kill(name)
    starts = [threading.Thread(target=router.start) for router in pair.routers.values()]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    for router in pair.routers.values():
        router.ready()
    pair.settled()
    until(lambda: pair["vm1"].ping(WEB))
    assert all(router.drift() == [] for router in pair.routers.values())


def test_another_pair_with_our_number_is_reported_and_changes_nothing(pair: PairLab) -> None:
    changes = pair.changes()
    # VRRPv3 (RFC 5798, section 5.1): type, VRID, priority, one address, 0.1 s, checksum, the address.
    advert = struct.pack("!BBBBHH4s", 0x31, 51, 255, 1, 10, 0, socket.inet_aton("203.0.113.2"))
    with inside(pair["net"].full):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
    with raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        for _ in range(20):
            raw.sendto(advert, ("224.0.0.18", 0))
            time.sleep(0.05)
    for name in pair.routers:
        until(lambda name=name: pair.failed_checks(name).keys() == {"redundancy foreign-vrrp"}, seconds=5)
        failed = pair.failed_checks(name)
        assert "203.0.113.1 on public0 has virtual router ID 51, too" in failed["redundancy foreign-vrrp"]
    assert pair.changes() == changes
