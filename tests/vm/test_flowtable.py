"""Established connections take the kernel's flowtable, and nobody but the firewall's chains misses them."""

import errno
import json
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from images.image import Image
from tests.vm.between import (
    FORWARDS,
    GUEST,
    INTERNET,
    OTHER_GUEST,
    PUBLIC,
    Between,
    between,
    document,
    until,
)

SIZE = 3_000_000
PORT = 80
# ip(7): IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_RECVERR, IP_RECVTTL.
_DISCOVER_MTU, _DONT_FRAGMENT, _RECEIVE_ERRORS, _RECEIVE_TTL = 10, 2, 11, 12
Totals = dict[str, dict[str, dict[str, int]]]


@pytest.fixture(scope="module")
def started(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Between]:
    disk = image.directory / "sysvm-router.qcow2"
    with between(disk, tmp_path_factory.mktemp("flowtable")) as lab:
        lab.start()
        yield lab


@pytest.fixture
def lab(started: Between) -> Between:
    started.put(document())
    return started


def offloaded(lab: Between, protocol: str) -> list[str]:
    """Connections that are in the flowtable, as the kernel lists them."""
    listing = lab.sh("cat /proc/net/nf_conntrack").splitlines()
    return [line for line in listing if f" {protocol} " in line and "[OFFLOAD]" in line]


def by_the_chains(lab: Between) -> int:
    """Bytes that they counted: those that didn't take the flowtable."""
    listed = json.loads(lab.sh("nft -j list counters table inet sysvm_usage"))["nftables"]
    return sum(item["counter"]["bytes"] for item in listed if "counter" in item)


def grown(lab: Between, before: Totals) -> dict[str, int]:
    """By how many bytes each counter grew, those that did much."""
    return {
        f"{name} {direction}": more
        for name, directions in lab.usage().items()
        for direction, values in directions.items()
        if (more := values["bytes"] - before.get(name, {}).get(direction, {}).get("bytes", 0)) > SIZE / 2
    }


def listening(lab: Between, name: str) -> socket.socket:
    server = lab.socket(name)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", PORT))
    server.listen()
    return server


def connected(lab: Between, client: str, address: str, port: int, server: str) -> tuple[socket.socket, Any]:
    """Both ends of a connection."""
    with listening(lab, server) as door:
        here = lab.socket(client)
        here.settimeout(60)
        here.connect((address, port))
        there, _ = door.accept()
    there.settimeout(60)
    return here, there


def carry(here: socket.socket, there: socket.socket, size: int = SIZE) -> None:
    """So many bytes from here to there. Not all at once: nobody reads meanwhile."""
    for piece in (20_000,) * (size // 20_000):
        here.sendall(bytes(piece))
        while piece:
            got = len(there.recv(piece))
            assert got
            piece -= got


@pytest.mark.parametrize(
    ("client", "address", "port", "server", "counters"),
    [
        ("vm1", INTERNET, PORT, "net", {"network-guest0 sent", f"address-{PUBLIC} sent"}),
        ("net", FORWARDS, 8080, "vm1", {"network-guest0 received", f"address-{FORWARDS} received"}),
        ("vm3", FORWARDS, 8080, "vm1", {"network-guest1 sent", "network-guest0 received"}),
        ("vm2", FORWARDS, 8080, "vm1", {"network-guest0 sent", "network-guest0 received"}),
    ],
    ids=["source NAT", "port forward", "between networks", "hairpin"],
)
def test_a_connection_is_in_the_flowtable_and_counted(
    lab: Between, client: str, address: str, port: int, server: str, counters: set[str]
) -> None:
    before = lab.usage()
    seen = by_the_chains(lab)
    here, there = connected(lab, client, address, port, server)
    carry(here, there)
    assert [line for line in offloaded(lab, "tcp") if f"dport={port} " in line]
    change = grown(lab, before)
    assert change.keys() == counters
    for counted in change.values():
        assert SIZE < counted < SIZE * 1.08, change
    assert by_the_chains(lab) - seen < SIZE / 10
    for end in (here, there):
        end.close()


def test_a_rule_that_drops_ends_its_connections_and_no_others(lab: Between) -> None:
    here, there = connected(lab, "net", FORWARDS, 8080, "vm1")
    other, far = connected(lab, "vm1", INTERNET, PORT, "net")
    carry(here, there, 100_000)
    carry(other, far, 100_000)
    assert len(offloaded(lab, "tcp")) >= 2
    closed = document()
    for protocol in ("tcp", "udp"):
        shut = {"verdict": "drop", "address": FORWARDS, "protocol": protocol, "ports": "8080-8081"}
        closed["firewall"]["ingress"]["rules"][f"no-{protocol}"] = shut
    lab.put(closed)
    carry(other, far, 100_000)
    here.sendall(b"x")
    there.settimeout(5)
    with pytest.raises(TimeoutError):
        there.recv(10)
    assert not [line for line in offloaded(lab, "tcp") if "dport=8080 " in line]
    closed["firewall"]["egress"] = {}
    lab.put(closed)
    other.sendall(b"x")
    far.settimeout(5)
    with pytest.raises(TimeoutError):
        far.recv(10)
    for client, address, port in (("net", FORWARDS, 8080), ("vm1", INTERNET, PORT)):
        refused = lab.socket(client)
        refused.settimeout(2)
        with pytest.raises(TimeoutError):
            refused.connect((address, port))


def test_a_removed_rule_ends_its_connections_and_no_others(lab: Between) -> None:
    here, there = connected(lab, "net", FORWARDS, 8080, "vm1")
    other, far = connected(lab, "vm1", INTERNET, PORT, "net")
    carry(here, there, 100_000)
    carry(other, far, 100_000)
    assert len(offloaded(lab, "tcp")) >= 2
    without = document()
    del without["port_forwards"]["web"]
    lab.put(without)
    carry(other, far, 100_000)
    here.sendall(b"x")
    there.settimeout(5)
    with pytest.raises(TimeoutError):
        there.recv(10)
    assert not [line for line in offloaded(lab, "tcp") if "dport=8080 " in line]


def test_guests_are_counted_one_by_one(lab: Between) -> None:
    wanted = document()
    wanted["accounting"] = {"guests": True}
    wanted["dhcp"] = {
        "guest0": {"reservations": {"02:00:0a:01:01:0a": {"address": GUEST}}},
        "guest1": {"reservations": {"02:00:0a:01:02:0a": {"address": OTHER_GUEST}}},
    }
    lab.put(wanted)
    assert lab.changes(wanted) == ()
    for client, address, port, server, counters in (
        ("vm1", INTERNET, PORT, "net",
         {f"guest-{GUEST} sent", "network-guest0 sent", f"address-{PUBLIC} sent"}),
        ("net", FORWARDS, 8080, "vm1",
         {f"guest-{GUEST} received", "network-guest0 received", f"address-{FORWARDS} received"}),
        # A guest that nothing names is its network's.
        ("vm2", INTERNET, PORT, "net", {"network-guest0 sent", f"address-{PUBLIC} sent"}),
    ):  # fmt: skip
        before, seen = lab.usage(), by_the_chains(lab)
        here, there = connected(lab, client, address, port, server)
        carry(here, there)
        change = grown(lab, before)
        assert change.keys() == counters
        assert all(SIZE < counted < SIZE * 1.08 for counted in change.values()), change
        assert by_the_chains(lab) - seen < SIZE / 2
        here.close()
        there.close()
    lab.put(document())
    assert lab.changes(document()) == ()


def test_who_has_a_rate_is_not_in_the_flowtable(lab: Between) -> None:
    here, there = connected(lab, "vm1", INTERNET, PORT, "net")
    other, far = connected(lab, "vm2", INTERNET, PORT, "net")
    carry(here, there, 100_000)
    carry(other, far, 100_000)
    limited = {**document(), "limits": {"guests": {GUEST: {"sent": {"rate": 800_000_000}}}}}
    lab.put(limited)
    assert lab.changes(limited) == ()
    before = by_the_chains(lab)
    carry(here, there, SIZE)
    assert by_the_chains(lab) - before > SIZE, "each packet of it meets the chains"
    carry(other, far, 100_000)
    assert [line for line in offloaded(lab, "tcp") if "src=10.1.1.11 " in line]
    # Slowed down in the middle, and not cut.
    slow = {**document(), "limits": {"guests": {GUEST: {"sent": {"rate": 4_000_000}}}}}
    lab.put(slow)
    carry(here, there, SIZE)
    begun = time.monotonic()
    carry(here, there, SIZE)
    held = time.monotonic() - begun
    assert held > SIZE / 500_000 * 0.7, held
    begun = time.monotonic()
    carry(other, far, SIZE)
    assert time.monotonic() - begun < held / 2
    lab.put(document())
    carry(here, there, 100_000)
    assert [line for line in offloaded(lab, "tcp") if f"src={GUEST} " in line]


def test_datagrams_keep_their_time_to_live_and_their_size(lab: Between) -> None:
    server = lab.socket("vm1", socket.SOCK_DGRAM)
    server.bind((GUEST, PORT))
    server.setsockopt(socket.IPPROTO_IP, _RECEIVE_TTL, 1)
    client = lab.socket("net", socket.SOCK_DGRAM)
    client.connect((FORWARDS, 8080))
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
    client.setsockopt(socket.IPPROTO_IP, _DISCOVER_MTU, _DONT_FRAGMENT)
    for _ in range(5):
        client.send(b"?")
        _, extra, _, peer = server.recvmsg(100, 100)
        assert struct.unpack("=i", extra[0][2]) == (8,)
        server.sendto(b"!", peer)
        assert client.recv(100) == b"!"
    assert offloaded(lab, "udp")

    def told() -> bool:
        # guest0 has an MTU of 1400, the outside one of 1500.
        try:
            client.send(bytes(1450))
        except OSError as error:
            assert error.errno == errno.EMSGSIZE
            return True
        return False

    until(told)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    client.setsockopt(socket.IPPROTO_IP, _RECEIVE_ERRORS, 1)

    def expired() -> bool:
        try:
            client.send(b"?")
            client.recv(100)
        except OSError as error:
            # An earlier datagram's error may come first.
            return error.errno == errno.EHOSTUNREACH
        return False

    until(expired)


def devices(lab: Between) -> set[str]:
    lines = lab.sh("nft list flowtables table inet sysvm 2>&1 || true").splitlines()
    found = [line.partition("{")[2].strip(" }") for line in lines if "devices" in line]
    return {name.strip() for names in found for name in names.split(",")}


def test_cards_come_and_go(lab: Between) -> None:
    assert devices(lab) == {"guest0", "guest1", "public0"}
    here, there = connected(lab, "vm1", INTERNET, PORT, "net")
    carry(here, there, 100_000)
    lab.machine.monitor("device_del", id="guest1")
    until(lambda: devices(lab) == {"guest0", "public0"})
    carry(here, there)
    assert offloaded(lab, "tcp")
    until(lambda: lab.changes(document()) == ())
    # Another card with the same address.
    until(lambda: "guest1" not in lab.sh("ls /sys/class/net"))
    device = {"netdev": "guest1", "mac": "02:00:0a:01:02:01", "id": "again", "bus": "guest1-port"}
    lab.machine.monitor("device_add", driver="virtio-net-pci", **device)
    until(lambda: devices(lab) == {"guest0", "guest1", "public0"})
    until(lambda: lab.changes(document()) == ())
    carry(here, there)
    assert offloaded(lab, "tcp")
    before = lab.usage()
    other, far = connected(lab, "vm3", INTERNET, PORT, "net")
    carry(other, far)
    assert grown(lab, before).keys() == {"network-guest1 sent", f"address-{PUBLIC} sent"}


def test_the_document_turns_it_off_and_on_under_a_connection(lab: Between) -> None:
    here, there = connected(lab, "vm1", INTERNET, PORT, "net")
    for on in (False, True):
        before = lab.usage()
        lab.put({**document(), "fast_path": on})
        assert lab.changes({**document(), "fast_path": on}) == ()
        assert devices(lab) == ({"guest0", "guest1", "public0"} if on else set())
        carry(here, there)
        assert bool(offloaded(lab, "tcp")) is on
        assert grown(lab, before).keys() == {"network-guest0 sent", f"address-{PUBLIC} sent"}
    uncounted = document()
    del uncounted["accounting"]
    lab.put(uncounted)
    assert lab.changes(uncounted) == ()
    carry(here, there)
    assert offloaded(lab, "tcp")
    assert "sysvm_usage" not in lab.sh("nft list tables")


@pytest.mark.parametrize(
    "harm",
    [
        # Two that have nothing to do with one another, for each waits until the agent looks.
        "nft flush chain inet sysvm fast_path; "
        "nft delete element netdev sysvm_usage network_mark '{ \"guest0\" }'",
        "nft flush chain inet sysvm fast_path; nft delete flowtable inet sysvm fast; "
        "nft delete chain netdev sysvm_usage before",
        "nft delete table netdev sysvm_usage",
    ],
)
def test_what_others_do_to_it_is_undone(lab: Between, harm: str) -> None:
    places = ("table netdev sysvm_usage", "flowtables", "chain inet sysvm fast_path")
    # In any order, and whatever was counted.
    script = "".join(f"nft list {place} | sed 's/packets.*//'\n" for place in places)

    def listing() -> list[str]:
        return sorted(lab.sh(script).split())

    before = listing()
    lab.sh(harm)
    assert listing() != before
    until(lambda: listing() == before)


def test_a_packet_is_explained_beside_it(lab: Between) -> None:
    """By a probe, which this kernel's modules carry, too; and what is in the flowtable stays there."""
    here, there = connected(lab, "vm1", INTERNET, PORT, "net")
    carry(here, there, 100_000)
    for source, destination, port, outcome, pointer in (
        (INTERNET, FORWARDS, 8080, "forwarded", "/firewall/ingress/rules/tcp"),
        (INTERNET, FORWARDS, 22, "dropped", "/firewall/ingress/policy"),
        (GUEST, INTERNET, PORT, "forwarded", "/firewall/egress/guest0/policy"),
    ):
        with lab.machine.agent() as agent:
            body = {"from": source, "to": destination, "port": port}
            found = agent.ask("POST", "/v1/explain", body=body)
        assert (found["outcome"], found["pointer"]) == (outcome, pointer), found
    assert lab.changes(document()) == ()

    def is_there() -> bool:
        # One that carried nothing for 30 s, as slow machines take to explain, comes with its next packets.
        carry(here, there, 100_000)
        return any(f"src={GUEST} " in line for line in offloaded(lab, "tcp"))

    until(is_there)


def test_it_comes_back_with_the_machine(lab: Between) -> None:
    kept = lab.usage()["network-guest0"]["sent"]["bytes"]
    lab.machine.cut_power()
    lab.start()
    until(lambda: devices(lab) == {"guest0", "guest1", "public0"})
    here, there = connected(lab, "vm1", INTERNET, PORT, "net")
    carry(here, there)
    assert offloaded(lab, "tcp")
    assert lab.usage()["network-guest0"]["sent"]["bytes"] > kept + SIZE
