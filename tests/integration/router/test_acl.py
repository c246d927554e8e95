"""Access lists by who reaches whom, and what they tell of it."""

import socket

import pytest
from router_lab import inside, until
from vpc_lab import (
    FIRST,
    TIERS,
    TIERS6,
    WEB,
    Rules,
    VpcLab,
    document,
    rule,
    with_list,
)


@pytest.fixture
def lab(vpc: VpcLab) -> VpcLab:
    """The router with everything open, whatever the test before left."""
    vpc.ready()
    vpc.put(document())
    return vpc


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


def test_hits_are_counted_and_outlive_changes(lab: VpcLab) -> None:
    rules: Rules = {
        "web": rule(10, "accept", protocol="tcp", ports=[80]),
        "no": rule(20, "drop", protocol="udp", ports=[81, 90]),
    }
    lab.put(with_list("guest1", rules))
    for _ in range(3):
        assert lab["a"].ask(TIERS["b"], 80)
    assert lab["a"].refused(TIERS["b"], 81, udp=True) and lab["a"].refused(TIERS["b"], 90, udp=True)

    def hits() -> dict[str, int]:
        return {place.rpartition("/")[2]: count["packets"] for place, count in lab.get("/v1/hits").items()}

    assert hits() == {"web": 3, "no": 2}
    rules["more"] = rule(30, "drop", log=True)
    lab.put(with_list("guest1", rules))
    assert lab["a"].ask(TIERS["b"], 80)
    assert hits() == {"web": 4, "no": 2, "more": 0}, "the whole table was made anew"
    # One in front that overlaps it moves it to another layer, and back when it goes.
    rules["front"] = rule(1, "drop", protocol="tcp", ports=[80], cidrs=["10.9.0.0/16"])
    lab.put(with_list("guest1", rules))
    assert lab["a"].ask(TIERS["b"], 80)
    assert hits() == {"web": 5, "no": 2, "more": 0, "front": 0}
    del rules["front"]
    lab.put(with_list("guest1", rules))
    assert hits() == {"web": 5, "no": 2, "more": 0}


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
