"""A VPC by who reaches whom: tiers, private gateways, several ways out."""

import socket
import threading
import time

import pytest
from router_lab import until
from vpc_lab import (
    BRANCH,
    FAR,
    FIRST,
    MACS,
    SECOND,
    TIERS,
    TIERS6,
    WEB,
    WEB6,
    Rules,
    VpcLab,
    document,
    rule,
    user_data,
    with_list,
)


@pytest.fixture
def lab(vpc: VpcLab) -> VpcLab:
    """The router with everything open, whatever the test before left."""
    vpc.ready()
    vpc.put(document())
    return vpc


def test_open_tiers_reach_one_another_and_both_internets(lab: VpcLab) -> None:
    for udp in (False, True):
        assert lab["a"].ask(TIERS["b"], 80, udp=udp) == f"b:80 saw {TIERS['a']}"
        assert lab["b"].ask(TIERS["c"], 80, udp=udp) == f"c:80 saw {TIERS['b']}"
    assert lab["a"].ask(WEB, 80) == f"net0:80 saw {FIRST}"
    assert lab["b"].ask(WEB, 80) == f"net1:80 saw {SECOND}", "out by the interface of its address"
    assert lab["c"].ask(WEB, 80) == f"net0:80 saw {FIRST}"
    assert lab.drift() == []


def test_ipv6_is_routed_under_the_same_lists(lab: VpcLab) -> None:
    a, net = lab["a"], lab["net0"]
    assert a.ask(TIERS6["b"], 80) == f"b:80 saw {TIERS6['a']}"
    assert a.ask(WEB6, 80) == f"net0:80 saw {TIERS6['a']}"
    assert net.ask(TIERS6["a"], 80, source=WEB6) == f"a:80 saw {WEB6}"
    rules: Rules = {"web": rule(1, "accept", protocol="tcp", ports=[80], cidrs=["fd00:2:1::/64"])}
    lab.put(with_list("guest1", rules))
    assert a.ask(TIERS6["b"], 80) == f"b:80 saw {TIERS6['a']}"
    assert net.refused(TIERS6["b"], 80, source=WEB6)
    assert a.refused(TIERS["b"], 80), "that rule is IPv6's"
    # Nobody sends as somebody else.
    a.run("ip", "address", "add", f"{TIERS6['b']}/128", "dev", "eth0", "nodad")
    a.run("ip", "address", "add", "fd00:9::1/128", "dev", "eth0", "nodad")
    try:
        assert a.refused(WEB6, 80, source="fd00:9::1")
    finally:
        a.run("ip", "address", "del", f"{TIERS6['b']}/128", "dev", "eth0")
        a.run("ip", "address", "del", "fd00:9::1/128", "dev", "eth0")


def test_forwards_and_static_nat_are_under_the_tiers_list(lab: VpcLab) -> None:
    wanted = with_list("guest1", {"web": rule(1, "accept", protocol="tcp", ports=[80], cidrs=[f"{FAR}/32"])})
    wanted["port_forwards"] = {
        "web": {"address": "203.0.113.3", "protocol": "tcp", "ports": "8080-8081", "target": TIERS["b"],
                "target_ports": "80-81"},
    }  # fmt: skip
    wanted["static_nat"] = {"192.0.2.3": {"target": TIERS["b"]}}
    lab.put(wanted)
    for net, address, port in (("net0", "203.0.113.3", 8080), ("net1", "192.0.2.3", 80)):
        assert lab[net].ask(address, port, source=FAR) == f"b:80 saw {FAR}", net
        assert lab[net].refused(address, port, source=WEB), net
        assert lab[net].refused(address, port + 1, source=FAR), net
    # The guest with static NAT goes out with it, and by its interface; its answers leave by where they came.
    assert lab["b"].ask(WEB, 80) == "net1:80 saw 192.0.2.3"
    assert lab["a"].ask(WEB, 80) == f"net0:80 saw {FIRST}"


def test_the_router_answers_by_where_it_was_asked(lab: VpcLab) -> None:
    for net, own in (("net0", FIRST), ("net1", SECOND)):
        lab[net].run("ping", "-c", "1", "-W", "1", "-I", FAR, own)
    wanted = document()
    del wanted["interfaces"]["public1"]
    wanted["source_nat"]["guest1"] = {"address": FIRST}
    lab.put(wanted)
    assert lab["b"].ask(WEB, 80) == f"net0:80 saw {FIRST}", "with one way out all take it"
    assert "1001" not in lab.run("ip", "rule")
    lab.put(document())
    assert lab["b"].ask(WEB, 80) == f"net1:80 saw {SECOND}"


def test_private_gateways(lab: VpcLab) -> None:
    a, branch = lab["a"], lab["branch"]
    assert a.ask(BRANCH, 80) == f"branch:80 saw {TIERS['a']}"
    assert branch.ask(TIERS["a"], 80, source=BRANCH) == f"a:80 saw {BRANCH}"
    wanted = document()
    wanted["private_gateways"]["private0"] = {"acl": "line", "source_nat": True}
    wanted["acls"]["line"] = {
        "egress_policy": "drop",
        "rules": {
            "in": rule(1, "accept", "ingress", protocol="tcp", ports=[81], cidrs=["172.20.0.0/16"]),
            "out": rule(1, "accept", "egress", protocol="tcp", ports=[80], cidrs=["172.20.0.0/16"]),
        },
    }
    lab.put(wanted)
    assert a.ask(BRANCH, 80) == "branch:80 saw 172.16.0.2"
    assert a.refused(BRANCH, 81) and a.refused("172.16.0.1", 80)
    assert branch.ask(TIERS["a"], 81, source=BRANCH) == f"a:81 saw {BRANCH}"
    assert branch.refused(TIERS["a"], 80, source=BRANCH)
    assert branch.refused(TIERS["a"], 81), "its own end is not in the rule's network"
    assert branch.refused(WEB, 80, source=BRANCH), "it is no way to the internet"
    assert lab["net0"].refused(BRANCH, 80)


def test_tiers_come_and_go_while_others_carry_traffic(lab: VpcLab) -> None:
    stop, lost = threading.Event(), []

    def talk() -> None:
        """Datagrams of one flow, a hundred a second, each to be answered before the next."""
        with lab["a"].socket(socket.SOCK_DGRAM) as flow, lab["a"].socket() as connection:
            flow.settimeout(0.5)
            flow.connect((TIERS["b"], 80))
            connection.connect((TIERS["b"], 80))
            while not stop.is_set():
                try:
                    flow.send(b"?")
                    flow.recv(100)
                    connection.send(b"?")
                    connection.recv(100)
                except OSError as error:
                    lost.append(error)
                time.sleep(0.01)

    talking = threading.Thread(target=talk)
    talking.start()
    without = document()
    for section in ("interfaces", "tiers", "source_nat"):
        del without[section]["guest2"]
    del without["interfaces"]["public1"]
    without["source_nat"]["guest1"] = {"address": FIRST}
    try:
        for _ in range(3):
            lab.put(without)
            assert lab["c"].refused(TIERS["a"], 80)
            lab.put(document())
            assert lab["c"].ask(TIERS["a"], 80)
    finally:
        stop.set()
        talking.join()
    assert lost == []


def test_a_shared_network_has_its_own_gateway(lab: VpcLab) -> None:
    """Only DHCP, DNS and user-data: the way out is another device's."""
    lab.put(
        {
            "role": "router", "name": "r1",
            "interfaces": {
                "guest0": {"mac": MACS["guest0"], "addresses": ["10.2.1.2/24"], "gateway": "10.2.1.10"}
            },
            "dhcp": {
                "guest0": {
                    "options": {"router": "10.2.1.254"},
                    "reservations": {"02:00:0a:02:01:0b": {"address": "10.2.1.11", "hostname": "vm"}},
                }
            },
            "dns": {"guest0": {"domain": "shared.example"}},
            "metadata": {
                "guest0": {
                    "guests": {"02:00:0a:02:01:0b": {"instance_id": "i-7", "user_data": user_data("#x")}}
                }
            },
        }
    )  # fmt: skip
    guest = lab.client("shared", "guest0", "02:00:0a:02:01:0b", "10.2.1.11/24", gateway="10.2.1.2")
    assert guest.dig("vm.shared.example", server="10.2.1.2") == ["10.2.1.11"]
    assert guest.http("/latest/user-data", server="10.2.1.2").text == "#x"
    assert guest.refused(TIERS["b"], 80), "it is no router"
    assert "default via 10.2.1.10 dev guest0" in lab.run("ip", "route")
    assert lab.drift() == []


def test_the_firewall_of_isolated_networks_has_both_families(lab: VpcLab) -> None:
    wanted = document()
    wanted["tiers"], wanted["acls"], wanted["private_gateways"] = {}, {}, {}
    wanted["firewall"] = {
        "ingress": {
            "rules": {
                "web": {"verdict": "accept", "address": TIERS6["a"], "protocol": "tcp", "ports": 80},
                "ping": {"verdict": "accept", "address": "2001:db8::2", "protocol": "icmpv6"},
            }
        },
        "egress": {
            "guest0": {
                "policy": "accept",
                "rules": {
                    "no": {"verdict": "drop", "protocol": "tcp", "destination_cidrs": [f"{WEB6}/128"]}
                },
            },
            "guest1": {"policy": "accept"},
        },
    }
    lab.put(wanted)
    net = lab["net0"]
    # Addresses that have just come are nobody's until nobody has claimed them (RFC 4862, section 5.4).
    seen = until(lambda: net.ask(TIERS6["a"], 80, source=WEB6), what="the guest")
    assert seen == f"a:80 saw {WEB6}"
    assert net.refused(TIERS6["b"], 80, source=WEB6)
    assert until(lambda: net.ping("2001:db8::2"), what="the router") and not net.ping(TIERS6["a"])
    assert lab["a"].refused(WEB6, 80) and lab["b"].ask(WEB6, 80) == f"net0:80 saw {TIERS6['b']}"
    assert lab["a"].refused(TIERS6["b"], 80), "networks that aren't tiers don't reach one another"
    assert lab.drift() == []


def test_mtu_of_each_network(lab: VpcLab) -> None:
    assert "mtu 1400" in lab.run("ip", "link", "show", "guest1")
    with lab["a"].socket() as connection:
        connection.connect((TIERS["b"], 80))
        connection.send(b"?")
        connection.recv(100)
        most = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    assert most <= 1400 - 40, "clamped to the way's MTU"


def test_it_comes_back_with_the_machine(lab: VpcLab) -> None:
    lab.put(with_list("guest1", {"web": rule(1, "accept", protocol="tcp", ports=[80])}))
    lab.power_cut()
    until(lambda: lab["a"].ask(TIERS["b"], 80), seconds=30, what="the tier")
    assert lab["a"].refused(TIERS["b"], 81)
    assert lab["b"].ask(WEB, 80) == f"net1:80 saw {SECOND}"
    lab.settled()
    assert lab.drift() == []
