"""A VPC by who reaches whom: tiers, access lists, private gateways, several ways out."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from router_lab import inside, until
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
    VpcLab,
    document,
    rule,
    user_data,
)

from appliance.runtime.container import Containers

Tree = Callable[[str], Path]
Rules = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def shared(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VpcLab]:
    containers = Containers(f"vpc{os.getpid() % 10**8}")
    containers.clear()
    lab = VpcLab(containers, tree("router"), tmp_path_factory.mktemp("vpc"), macs=MACS)
    try:
        lab.up()
        for name in ("net0", "net1", "branch", *TIERS):
            for port in (80, 81):
                lab.serve(name, port)
                lab.serve(name, port, udp=True)
        for name in ("net0", *TIERS6):
            lab.serve(name, 80, version=6)
        yield lab
    finally:
        lab.close()


@pytest.fixture
def lab(shared: VpcLab) -> VpcLab:
    """The router with everything open, whatever the test before left."""
    shared.ready()
    shared.put(document())
    return shared


def with_list(link: str, rules: Rules, **fields: Any) -> dict[str, Any]:
    wanted = document()
    wanted["acls"]["own"] = {"rules": rules, **fields}
    wanted["tiers"][link]["acl"] = "own"
    return wanted


def test_open_tiers_reach_one_another_and_both_internets(lab: VpcLab) -> None:
    for udp in (False, True):
        assert lab["a"].ask(TIERS["b"], 80, udp=udp) == f"b:80 saw {TIERS['a']}"
        assert lab["b"].ask(TIERS["c"], 80, udp=udp) == f"c:80 saw {TIERS['b']}"
    assert lab["a"].ask(WEB, 80) == f"net0:80 saw {FIRST}"
    assert lab["b"].ask(WEB, 80) == f"net1:80 saw {SECOND}", "out by the interface of its address"
    assert lab["c"].ask(WEB, 80) == f"net0:80 saw {FIRST}"
    assert lab.drift() == []


def test_a_tier_is_closed_but_for_its_rules_and_in_their_order(lab: VpcLab) -> None:
    rules: Rules = {
        "not-c": rule(5, "drop", protocol="tcp", cidrs=["10.2.3.0/24"]),
        "web": rule(10, "accept", protocol="tcp", ports=[80], cidrs=["10.2.0.0/16"]),
        "dns": rule(11, "accept", protocol="udp", ports=["53", "81-90"]),
        "deny": rule(100, "drop", cidrs=["0.0.0.0/0"]),
        "never": rule(101, "accept", protocol="tcp", ports=[81]),
    }
    lab.put(with_list("guest1", rules))
    a, c, b = lab["a"], lab["c"], TIERS["b"]
    assert a.ask(b, 80) == f"b:80 saw {TIERS['a']}"
    assert a.refused(b, 81), "the rule behind the one that drops all"
    assert a.ask(b, 81, udp=True) and c.ask(b, 81, udp=True)
    assert a.refused(b, 80, udp=True)
    assert c.refused(b, 80), "dropped by an earlier rule"
    assert not a.ping(b)
    assert lab["b"].ask(TIERS["a"], 81), "what it asks is answered"
    # The same rules, another order.
    rules["web"]["number"], rules["never"]["number"] = 4, 99
    lab.put(with_list("guest1", rules))
    assert c.ask(b, 80) == f"b:80 saw {TIERS['c']}"
    assert a.ask(b, 81) and c.refused(b, 81)
    assert lab.drift() == []


def test_egress_and_ingress_are_both_asked(lab: VpcLab) -> None:
    rules: Rules = {
        "no-web": rule(1, "drop", "egress", protocol="tcp", ports=[80]),
        "not-c": rule(2, "drop", "egress", cidrs=["10.2.3.0/24"]),
    }
    lab.put(with_list("guest0", rules, ingress_policy="accept"))
    a = lab["a"]
    assert a.refused(TIERS["b"], 80) and a.ask(TIERS["b"], 81)
    assert a.refused(WEB, 80) and a.ask(WEB, 81) == f"net0:81 saw {FIRST}"
    assert a.refused(TIERS["c"], 81) and a.refused(TIERS["c"], 81, udp=True)
    assert lab["b"].ask(TIERS["a"], 80) and lab["c"].ask(TIERS["a"], 80), "coming in is another matter"
    wanted = with_list("guest0", rules, ingress_policy="accept")
    wanted["tiers"]["guest1"]["acl"] = "closed"
    lab.put(wanted)
    assert a.refused(TIERS["b"], 81), "one list lets it out, the other not in"
    assert a.ask(WEB, 81)


def test_icmp_types_and_other_protocols(lab: VpcLab) -> None:
    lab.put(with_list("guest1", {"ping": rule(1, "accept", protocol="icmp", icmp_type=8)}))
    assert lab["a"].ping(TIERS["b"]) and not lab["a"].ping(TIERS6["b"])
    assert lab["a"].refused(TIERS["b"], 80)
    lab.put(with_list("guest1", {"ping": rule(1, "accept", protocol="icmpv6", icmp_type=128, icmp_code=0)}))
    assert lab["a"].ping(TIERS6["b"]) and not lab["a"].ping(TIERS["b"])
    # OSPF's number, which no rule of ports can mean.
    for protocol, arrives in ((89, True), (88, False)):
        lab.put(with_list("guest1", {"routing": rule(1, "accept", protocol=protocol)}))
        with inside(lab["b"].full):
            receiving = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
        with inside(lab["a"].full):
            sending = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
        receiving.settimeout(0.5)
        with receiving, sending:
            sending.sendto(b"hello", (TIERS["b"], 0))
            if arrives:
                assert receiving.recv(100).endswith(b"hello")
            else:
                with pytest.raises(TimeoutError):
                    receiving.recv(100)


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
    lab.put({**document(), "interfaces": {
        link: interface for link, interface in document()["interfaces"].items() if link != "public1"
    }, "source_nat": {link: {"address": FIRST} for link in ("guest0", "guest1", "guest2")}})  # fmt: skip
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


def test_hits_are_counted_and_outlive_changes(lab: VpcLab) -> None:
    rules: Rules = {
        "web": rule(1, "accept", protocol="tcp", ports=[80]),
        "no": rule(2, "drop", protocol="udp", ports=[81, 90]),
    }
    lab.put(with_list("guest1", rules))
    for _ in range(3):
        assert lab["a"].ask(TIERS["b"], 80)
    assert lab["a"].refused(TIERS["b"], 81, udp=True) and lab["a"].refused(TIERS["b"], 90, udp=True)

    def hits() -> dict[str, int]:
        return {place.rpartition("/")[2]: count["packets"] for place, count in lab.get("/v1/hits").items()}

    assert hits() == {"web": 3, "no": 2}
    rules["more"] = rule(3, "drop", log=True)
    lab.put(with_list("guest1", rules))
    assert lab["a"].ask(TIERS["b"], 80)
    assert hits() == {"web": 4, "no": 2, "more": 0}, "the whole table was made anew"


def test_a_rule_logs_what_it_decides_about(lab: VpcLab) -> None:
    rules: Rules = {
        "web": rule(1, "accept", protocol="tcp", ports=[80], log=True),
        "rest": rule(2, "drop", protocol="udp", log=True),
    }
    lab.put(with_list("guest1", rules))
    assert lab["a"].ask(TIERS["b"], 80), "a rule that logs accepts all the same"
    assert lab["a"].refused(TIERS["b"], 81, udp=True)

    def logged() -> bool:
        text = lab.run("journalctl", "--unit", "sysvm-ulogd", "--output", "cat", "--no-pager")
        lines = [line for line in text.splitlines() if f"SRC={TIERS['a']} DST={TIERS['b']}" in line]
        accepted = [line for line in lines if "accept own/web " in line and "PROTO=TCP" in line]
        dropped = [line for line in lines if "drop own/rest " in line and "DPT=81" in line]
        return len(accepted) == 1 and len(dropped) == 1

    until(logged, what="a line for each")
    lab.put(document())
    assert lab.unit("sysvm-ulogd", "ActiveState") == "inactive", "nothing logs any more"


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
    assert net.ping("2001:db8::2") and not net.ping(TIERS6["a"])
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


def test_a_list_of_thousands_is_one_lookup_or_two(lab: VpcLab) -> None:
    """Rules of many hosts, and one more while they are there: found, counted, and nothing is made anew."""
    rules: Rules = {
        f"r{n}": rule(
            n + 1, "accept" if n % 2 else "drop", protocol="tcp", ports=[80 + n % 7],
            cidrs=[f"10.{100 + n // 250}.{n % 250}.0/24"],
        )
        for n in range(3000)
    }  # fmt: skip
    rules["all"] = rule(5000, "drop")
    lab.put(with_list("guest1", rules))
    assert lab["a"].refused(TIERS["b"], 80)
    report = lab.patch(
        {
            "generation": lab.get("/v1/status")["generation"] + 1,
            "acls": {
                "own": {"rules": {"a": rule(4000, "accept", protocol="tcp", cidrs=[f"{TIERS['a']}/32"])}}
            },
        }
    )
    assert [(change["kind"], change["detail"]) for change in report["changes"]] == [
        ("Ruleset", "1 elements come, 0 go")
    ]
    assert lab["a"].ask(TIERS["b"], 80)
    assert lab["c"].refused(TIERS["b"], 80)
    assert lab.drift() == []


def test_it_comes_back_with_the_machine(lab: VpcLab) -> None:
    lab.put(with_list("guest1", {"web": rule(1, "accept", protocol="tcp", ports=[80])}))
    lab.power_cut()
    until(lambda: lab["a"].ask(TIERS["b"], 80), seconds=30, what="the tier")
    assert lab["a"].refused(TIERS["b"], 81)
    assert lab["b"].ask(WEB, 80) == f"net1:80 saw {SECOND}"
    lab.settled()
    assert lab.drift() == []
