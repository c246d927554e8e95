"""Address translation and packet filter, by who reaches whom and as whom he is seen."""

import socket
import struct
import threading
import time
from typing import Any

import pytest
from router_document import document
from router_lab import FAR, FORWARDS, PUBLIC, STATIC, WEB, Lab, inside, until

Rule = dict[str, Any]
GUEST_PORTS = (80, 81, 7001, 7002, 7003)


@pytest.fixture(autouse=True)
def servers(lab: Lab) -> None:
    for name in ("vm1", "vm2", "vm3", "net"):
        for port in GUEST_PORTS:
            lab.serve(name, port)
            lab.serve(name, port, udp=True)


def forward(ports: int | str, target: str = "10.1.1.10", **more: Any) -> Rule:
    return {"address": FORWARDS, "protocol": "tcp", "ports": ports, "target": target} | more


def open_to_all(wanted: dict[str, Any]) -> dict[str, Any]:
    wanted["firewall"]["ingress"] = {"policy": "accept"}
    return wanted


def test_source_nat_and_static_nat_both_ways(lab: Lab) -> None:
    for udp in (False, True):
        assert lab["vm1"].ask(WEB, 80, udp=udp) == f"net:80 saw {PUBLIC}"
        assert lab["vm2"].ask(WEB, 80, udp=udp) == f"net:80 saw {STATIC}"
        assert lab["vm3"].ask(WEB, 80, udp=udp) == f"net:80 saw {PUBLIC}"
    assert lab["vm1"].ping(WEB)
    assert lab["net"].ask(STATIC, 80, source=FAR) == f"vm2:80 saw {FAR}"
    assert lab["net"].refused(STATIC, 81)
    assert lab["net"].refused(STATIC, 80, udp=True)
    # Inside, and from the other network, by the public address.
    assert lab["vm1"].ask(STATIC, 80) == "vm2:80 saw 10.1.1.1"
    assert lab["vm2"].ask(STATIC, 80) == "vm2:80 saw 10.1.1.1"
    assert lab["vm3"].ask(STATIC, 80) == "vm2:80 saw 10.1.2.10"
    # Nobody reaches the router itself by any of these.
    assert lab["net"].refused(PUBLIC, 53)
    assert lab["net"].refused(PUBLIC, 80)


def test_port_forwards_of_every_kind(lab: Lab) -> None:
    wanted = open_to_all(document())
    wanted["port_forwards"] = {
        "one": forward(8080, target_ports=80),
        "same": forward(81),
        "range": forward("7001-7002"),
        "shifted": forward("9001-9003", "10.1.1.11", target_ports="7001-7003"),
        "udp": forward(5000, protocol="udp", target_ports=7001),
        "udp-range": forward("7001-7003", "10.1.1.11", protocol="udp"),
        "other-network": forward(8443, "10.1.2.10", target_ports=80),
        "chosen": forward(8081, target_ports=81, source_cidrs=["198.51.100.96/29", "192.0.2.0/24"]),
        "chosen-range": forward("7003-7004", source_cidrs=[f"{FAR}/32"]),
    }
    lab.put(wanted)
    net = lab["net"]
    expected = {
        (8080, False): "vm1:80", (81, False): "vm1:81", (7001, False): "vm1:7001", (7002, False): "vm1:7002",
        (9001, False): "vm2:7001", (9002, False): "vm2:7002", (9003, False): "vm2:7003",
        (5000, True): "vm1:7001", (7001, True): "vm2:7001", (7003, True): "vm2:7003",
        (8443, False): "vm3:80", (8081, False): "vm1:81", (7003, False): "vm1:7003",
    }  # fmt: skip
    for (port, udp), server in expected.items():
        assert net.ask(FORWARDS, port, udp=udp, source=FAR) == f"{server} saw {FAR}", port
    for port in (8081, 7003):
        assert net.refused(FORWARDS, port, source=WEB), port
    for port, udp in ((8082, False), (9004, False), (5000, False), (8080, True), (7004, True)):
        assert net.refused(FORWARDS, port, udp=udp, source=FAR), port
    # Hairpin: from the same network the router stands in for the client, or the answer would go astray.
    for client in ("vm1", "vm2"):
        for port, server in ((8080, "vm1:80"), (7002, "vm1:7002"), (9002, "vm2:7002")):
            assert lab[client].ask(FORWARDS, port) == f"{server} saw 10.1.1.1", (client, port)
        assert lab[client].ask(FORWARDS, 7003, udp=True) == "vm2:7003 saw 10.1.1.1"
    assert lab["vm3"].ask(FORWARDS, 9002) == "vm2:7002 saw 10.1.2.10"
    assert lab.drift() == []


def ingress(policy: str, **rules: Rule) -> dict[str, Any]:
    wanted = document()
    wanted["port_forwards"] = {
        "all": forward("1-65535"),
        "all-udp": forward("1-65535", protocol="udp"),
    }
    usual = {"verdict": "accept", "address": FORWARDS, "protocol": "tcp"}
    wanted["firewall"]["ingress"] = {
        "policy": policy,
        "rules": {name: usual | rule for name, rule in rules.items()},
    }
    return wanted


def test_ingress_rules(lab: Lab) -> None:
    net = lab["net"]

    def seen(port: int, *, udp: bool = False, source: str = FAR, address: str = FORWARDS) -> bool:
        return net.ask(address, port, udp=udp, source=source, seconds=0.4) is not None

    lab.put(ingress("drop", some={"ports": "80-81"}, udp={"protocol": "udp", "ports": 7001}))
    assert seen(80)
    assert seen(81)
    assert seen(7001, udp=True)
    assert not seen(7001)
    assert not seen(80, udp=True)
    assert not seen(80, address=STATIC)

    # Drop wins, however they are named, ordered or sized; also over a protocol that is let in whole.
    lab.put(
        ingress(
            "drop",
            a={"ports": "1-65535"},
            b={"verdict": "drop", "ports": 81},
            c={"protocol": "all"},
            d={"verdict": "drop", "protocol": 17, "source_cidrs": [f"{WEB}/32"]},
        )
    )
    assert seen(80)
    assert not seen(81)
    assert seen(7001, udp=True)
    assert not seen(7001, udp=True, source=WEB)

    # Sources that overlap, and a drop inside one of them.
    lab.put(
        ingress(
            "drop",
            a={"ports": 80, "source_cidrs": ["198.51.100.0/24", "198.51.0.0/16"]},
            b={"ports": "70-90", "source_cidrs": ["198.51.100.64/26"]},
            c={"verdict": "drop", "ports": 80, "source_cidrs": [f"{WEB}/32"]},
        )
    )
    assert seen(80)
    assert not seen(80, source=WEB)
    assert seen(81)
    assert not seen(80, source="203.0.113.1")

    lab.put(ingress("accept", a={"verdict": "drop", "ports": 80}))
    assert not seen(80)
    assert seen(81)
    assert lab.drift() == []


def test_icmp_types_and_protocol_numbers(lab: Lab) -> None:
    def with_rule(**rule: Any) -> None:
        lab.put(ingress("drop", only={"address": STATIC} | rule))

    net = lab["net"]
    with_rule(protocol="icmp", icmp_type=8)
    assert net.ping(STATIC)
    with_rule(protocol="icmp")
    assert net.ping(STATIC)
    with_rule(protocol="icmp", icmp_type=13)
    assert not net.ping(STATIC, seconds=0.4)
    with_rule(protocol=1)
    assert net.ping(STATIC)
    with_rule(protocol=17)
    assert net.ask(STATIC, 7001, udp=True)
    assert net.refused(STATIC, 80)
    # GRE, which has no ports at all.
    for number, passes in ((47, True), (50, False)):
        with_rule(protocol=number)
        with inside(lab["vm2"].full):
            listening = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
        with inside(net.full):
            sending = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
        with listening, sending:
            listening.settimeout(0.5)
            sending.sendto(struct.pack("!HH", 0, 0x88BE) + b"sysvm", (STATIC, 0))
            try:
                assert b"sysvm" in listening.recv(200)
                assert passes
            except TimeoutError:
                assert not passes


def egress(policy: str, **rules: Rule) -> dict[str, Any]:
    wanted = document()
    wanted["firewall"]["egress"]["guest0"] = {"policy": policy, "rules": rules}
    return wanted


def test_egress_rules(lab: Lab) -> None:
    def seen(client: str, port: int, *, udp: bool = False, address: str = WEB) -> bool:
        return lab[client].ask(address, port, udp=udp, seconds=0.4) is not None

    lab.put(egress("accept", no={"verdict": "drop", "protocol": "tcp", "ports": 81}))
    assert seen("vm1", 80)
    assert not seen("vm1", 81)
    assert seen("vm1", 81, udp=True)
    # Another network's rules are its own.
    assert seen("vm3", 81)

    lab.put(
        egress(
            "drop",
            web={"verdict": "accept", "protocol": "tcp", "ports": 80, "source_cidrs": ["10.1.1.10/32"]},
            far={"verdict": "accept", "protocol": "all", "destination_cidrs": [f"{FAR}/32"]},
            not_far={"verdict": "drop", "protocol": "udp", "ports": 7001},
            ping={"verdict": "accept", "protocol": "icmp", "icmp_type": 8, "source_cidrs": ["10.1.1.11/32"]},
        )
    )
    assert seen("vm1", 80)
    assert not seen("vm2", 80)
    assert seen("vm2", 81, address=FAR)
    assert seen("vm2", 80, udp=True, address=FAR)
    assert not seen("vm2", 7001, udp=True, address=FAR)
    assert lab["vm2"].ping(WEB)
    assert not lab["vm1"].ping(WEB, seconds=0.4)

    # A network that isn't named may not go out at all.
    wanted = document()
    del wanted["firewall"]["egress"]["guest1"]
    lab.put(wanted)
    assert not seen("vm3", 80)
    assert seen("vm1", 80)
    assert lab["vm3"].dig("vm1", server="10.1.2.1") == ["10.1.2.10"]


def test_networks_are_kept_apart(lab: Lab) -> None:
    assert lab["vm1"].refused("10.1.2.10", 80)
    assert lab["vm3"].refused("10.1.1.10", 80)
    assert lab["vm3"].refused("10.1.1.10", 80, udp=True)
    assert not lab["vm1"].ping("10.1.2.10", seconds=0.4)
    # The other network's gateway address is not theirs to talk to.
    for port in (53, 80, 8080):
        assert lab["vm1"].refused("10.1.2.1", port)
    # Nor is the control network anybody's.
    lab.serve("mgmt", 80)
    lab["mgmt"].run("ip", "route", "replace", "10.1.0.0/16", "via", "169.254.3.2")
    try:
        assert lab["vm1"].refused("169.254.3.1", 80)
        assert lab["mgmt"].refused("10.1.1.10", 80)
        # From outside no guest address is reached by a route past the translation.
        lab["net"].run("ip", "route", "replace", "10.1.0.0/16", "via", PUBLIC)
        assert lab["net"].refused("10.1.1.10", 80)
        lab["net"].run("ip", "route", "replace", "169.254.3.0/24", "via", PUBLIC)
        assert lab["net"].refused("169.254.3.1", 80)
        assert lab["net"].refused("169.254.3.2", 8443)
    finally:
        lab["net"].run("ip", "route", "del", "10.1.0.0/16", check=False)
        lab["net"].run("ip", "route", "del", "169.254.3.0/24", check=False)
        lab["mgmt"].run("ip", "route", "del", "10.1.0.0/16")


def heard(lab: Lab, client: str, sender: str, source: str, address: str, *, via: str) -> bool:
    """Whether a datagram with a made-up source address arrives at port 7777 of a client."""
    with lab[client].socket(socket.SOCK_DGRAM) as listening:
        listening.bind(("0.0.0.0", 7777))
        listening.settimeout(0.4)
        with inside(lab[sender].full):
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            udp = struct.pack("!HHHH", 7777, 7777, 8 + 5, 0) + b"spoof"
            head = struct.pack(
                "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
                socket.inet_aton(source), socket.inet_aton(address),
            )  # fmt: skip
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            raw.sendto(head + udp, (address, 0))
        try:
            return bool(listening.recv(100))
        except TimeoutError:
            return False


def test_nobody_sends_from_addresses_that_arent_on_his_side(lab: Lab) -> None:
    wanted = open_to_all(document())
    wanted["port_forwards"]["udp"] = forward(7777, protocol="udp")
    lab.put(wanted)
    assert heard(lab, "net", "vm1", "10.1.1.10", WEB, via="")
    assert heard(lab, "net", "vm1", "10.1.1.99", WEB, via="")
    for source in ("10.1.2.10", "192.0.2.1", FAR, PUBLIC, "127.0.0.1", "169.254.3.1", "10.1.1.1"):
        assert not heard(lab, "net", "vm1", source, WEB, via=""), source
    assert heard(lab, "vm1", "net", FAR, FORWARDS, via="")
    for source in ("10.1.1.11", "10.1.2.10", "10.1.1.1", "127.0.0.1"):
        assert not heard(lab, "vm1", "net", source, FORWARDS, via=""), source


def test_a_transfer_survives_every_kind_of_change(lab: Lab) -> None:
    """TCP through source NAT and through a forward, while the table is swapped and pushed anew."""
    inward, outward = lab.serve("vm1", 80), lab.serve("net", 80)
    stop = threading.Event()
    sent: dict[str, int] = {}
    broken: list[str] = []

    def pour(name: str, connected: socket.socket) -> None:
        sent[name] = 0
        connected.settimeout(5)
        chunk = b"x" * 16384
        with connected:
            try:
                while not stop.is_set():
                    connected.sendall(chunk)
                    sent[name] += len(chunk)
                    time.sleep(0.002)
            except OSError as error:
                broken.append(f"{name}: {error}")

    received = {"in": inward.received, "out": outward.received}
    pipes = {"in": ("net", FORWARDS, 8080), "out": ("vm1", WEB, 80)}
    threads = []
    for name, (client, address, port) in pipes.items():
        connected = lab[client].socket()
        connected.connect((address, port))
        threads.append(threading.Thread(target=pour, args=(name, connected)))
        threads[-1].start()
    try:
        changed = document()
        changed["interfaces"]["guest1"] |= {"addresses": ["10.1.3.1/24"]}
        for section in ("dhcp", "dns"):
            del changed[section]["guest1"]
        changed["firewall"]["ingress"]["policy"] = "accept"
        # What comes and goes in place, and what goes in such numbers that the table is made anew.
        crowd = [f"100.64.{number // 100}.{number % 100 * 2}/32" for number in range(1_100)]
        many = {"verdict": "accept", "address": FORWARDS, "protocol": "tcp", "source_cidrs": crowd}
        changed["firewall"]["ingress"]["rules"]["many"] = {**many, "ports": 9000}
        for wanted, how in ((changed, "come"), (document(), "load the table")):
            said = lab.put(wanted)
            assert any(c["kind"] == "Ruleset" and how in c["detail"] for c in said["changes"]), said
        lab.put(document())
        # Rules that aren't about them, however near.
        closed = document()
        shut = {"verdict": "drop", "address": FORWARDS, "protocol": "tcp", "source_cidrs": [f"{FAR}/32"]}
        closed["firewall"]["ingress"]["rules"]["shut"] = shut
        closed["firewall"]["egress"]["guest0"] = {
            "policy": "drop",
            "rules": {"web": {"verdict": "accept", "protocol": "tcp", "ports": 80}},
        }
        lab.put(closed)
        assert lab["net"].refused(FORWARDS, 8080, source=FAR)
        lab.run("systemctl", "restart", "sysvm-agent")
        lab.ready()
        lab.patch({"interfaces": {"public0": {"mtu": 1400}}})
        before = dict(sent)
        until(lambda: all(sent[name] > before[name] + 500_000 for name in sent), seconds=10)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert broken == []
    until(lambda: inward.received - received["in"] == sent["in"])
    until(lambda: outward.received - received["out"] == sent["out"])


def test_cards_can_swap_their_networks(lab: Lab) -> None:
    swapped = document()
    first, second = swapped["interfaces"]["guest0"], swapped["interfaces"]["guest1"]
    first["mac"], second["mac"] = second["mac"], first["mac"]
    lab.put(swapped)
    assert lab.drift() == []
    # vm3's segment is the first network now.
    lab["vm3"].move("10.1.1.30/24", gateway="10.1.1.1")
    try:
        assert lab["vm3"].dig("vm1.a.example", server="10.1.1.1") == ["10.1.1.10"]
        lab.put(document())
        lab.put(swapped)
        assert lab["vm3"].ask(WEB, 80) == f"net:80 saw {PUBLIC}"
        # A name that goes to a card while its old one stays, without a name.
        gone = document()
        del gone["interfaces"]["guest1"], gone["source_nat"]["guest1"], gone["firewall"]["egress"]["guest1"]
        for section in ("dhcp", "dns"):
            del gone[section]["guest1"]
        gone["interfaces"]["guest0"]["mac"] = first["mac"]
        lab.put(document())
        lab.put(gone)
        assert lab["vm3"].dig("vm1.a.example", server="10.1.1.1") == ["10.1.1.10"]
        assert lab.drift() == []
    finally:
        lab["vm3"].move("10.1.2.10/24", gateway="10.1.2.1")
        lab.put(document())


def test_the_first_public_address_can_be_changed(lab: Lab) -> None:
    """The others of its network stay, and the router's own packets leave by the new one."""
    changed = document()
    new = "203.0.113.7"
    changed["interfaces"]["public0"]["addresses"] = [f"{new}/24", f"{FORWARDS}/24", f"{STATIC}/24"]
    changed["source_nat"] = {link: {"address": new} for link in ("guest0", "guest1")}
    lab.put(changed)
    assert lab["vm1"].ask(WEB, 80) == f"net:80 saw {new}"
    assert lab["net"].ask(FORWARDS, 8080)
    assert lab["net"].ask(STATIC, 80)
    assert f"src {new} " in lab.run("ip", "route", "get", WEB)
    assert lab.drift() == []
