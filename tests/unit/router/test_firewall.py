"""Rules as elements: each in its set, overlaps cut, open ends filled in."""

from typing import Any

from router import firewall
from router.elements import CROWD
from tests.examples import example, read


def elements(
    *, ingress: dict[str, Any] | None = None, egress: dict[str, Any] | None = None
) -> dict[str, list[str]]:
    found = firewall.elements(read(with_rules(ingress=ingress, egress=egress)))
    assert list(found) == firewall.SETS, "all sets are named, so that what is gone goes"
    return {name: sorted(keys) for name, keys in found.items() if keys}


def with_rules(
    *, ingress: dict[str, Any] | None = None, egress: dict[str, Any] | None = None
) -> dict[str, Any]:
    value = example("two-networks")
    value["firewall"] = {"ingress": {"rules": ingress or {}}, "egress": {"guest1": {"rules": egress or {}}}}
    return value


def rule(verdict: str = "accept", **fields: Any) -> dict[str, Any]:
    return {"verdict": verdict, "address": "203.0.113.5", **fields}


def outward(verdict: str = "accept", **fields: Any) -> dict[str, Any]:
    return {"verdict": verdict, **fields}


def test_no_rules_no_elements() -> None:
    assert elements() == {}


def test_ports() -> None:
    assert elements(
        ingress={"web": rule(protocol="tcp", ports=80), "dns": rule(protocol="udp", ports="53-54")}
    ) == {
        "ingress_accept_ports": ["53-54 . 17 . 0.0.0.0/0 . 203.0.113.5", "80 . 6 . 0.0.0.0/0 . 203.0.113.5"]
    }
    assert elements(ingress={"a": rule(protocol="tcp")}) == {
        "ingress_accept_ports": ["0-65535 . 6 . 0.0.0.0/0 . 203.0.113.5"]
    }


def test_icmp_and_protocols() -> None:
    assert elements(
        ingress={
            "ping": rule(protocol="icmp", icmp_type=8),
            "icmp": rule("drop", protocol="icmp"),
            "gre": rule(protocol=47),
            "all": rule("drop", protocol="all"),
        }
    ) == {
        "ingress_accept_icmp": ["0.0.0.0/0 . 203.0.113.5 . 8"],
        "ingress_drop_icmp": ["0.0.0.0/0 . 203.0.113.5 . 0-255"],
        "ingress_accept_protocol": ["0.0.0.0/0 . 203.0.113.5 . 47"],
        "ingress_drop_protocol": ["0.0.0.0/0 . 203.0.113.5 . 0-255"],
    }


def test_overlaps_are_elements_that_count_for_all_that_are_about_them() -> None:
    rules = {"a": rule(protocol="tcp", ports="10-20"), "b": rule(protocol="tcp", ports="15-30")}
    keys = [f"{ports} . 6 . 0.0.0.0/0 . 203.0.113.5" for ports in ("10-14", "15-20", "21-30")]
    assert elements(ingress=rules) == {"ingress_accept_ports": keys}
    a, b = "/firewall/ingress/rules/a", "/firewall/ingress/rules/b"
    assert firewall.pointers(read(with_rules(ingress=rules))) == {
        ("ingress_accept_ports", key): found for key, found in zip(keys, ((a,), (a, b), (b,)), strict=True)
    }
    rules["b"]["verdict"] = "drop"
    assert elements(ingress=rules) == {
        "ingress_accept_ports": ["10-20 . 6 . 0.0.0.0/0 . 203.0.113.5"],
        "ingress_drop_ports": ["15-30 . 6 . 0.0.0.0/0 . 203.0.113.5"],
    }


def test_what_logs_has_a_chain_of_its_own() -> None:
    value = with_rules(
        ingress={
            "web": rule(protocol="tcp", ports=80, log=True),
            "wide": rule(protocol="tcp", ports="80-90"),
            "bad": rule("drop", protocol="all", source_cidrs=["192.0.2.0/24"], log=True),
        },
        egress={"mail": outward("drop", protocol="tcp", ports=25, log=True)},
    )
    found = firewall.elements(read(value))
    assert found["ingress_accept_ports"] == {
        "80 . 6 . 0.0.0.0/0 . 203.0.113.5": "goto logged/ingress/web",
        "81-90 . 6 . 0.0.0.0/0 . 203.0.113.5": "accept",
    }
    assert list(found["ingress_drop_protocol"].values()) == ["goto logged/ingress/bad"]
    assert [(each.chain, each.title, each.verdict) for each in firewall.logged(read(value))] == [
        ("logged/guest1/mail", "drop guest1/mail", "drop"),
        ("logged/ingress/bad", "drop ingress/bad", "drop"),
        ("logged/ingress/web", "accept ingress/web", "accept"),
    ]
    value["firewall"]["ingress"]["rules"]["web"]["log"] = False
    assert firewall.elements(read(value))["ingress_accept_ports"] == {
        "80 . 6 . 0.0.0.0/0 . 203.0.113.5": "accept",
        "81-90 . 6 . 0.0.0.0/0 . 203.0.113.5": "accept",
    }


def test_the_order_of_rules_means_nothing() -> None:
    rules = {
        str(n): rule(protocol="tcp", ports=f"{n}-{n + 9}", source_cidrs=["192.0.2.0/24"]) for n in (1, 5, 40)
    }
    assert elements(ingress=rules) == elements(ingress=dict(reversed(rules.items())))


def test_egress_is_from_its_network() -> None:
    assert elements(egress={"dns": outward(protocol="udp", ports=53)}) == {
        "egress_accept_ports": ["53 . 17 . 0.0.0.0/0 . 10.1.2.0/25"]
    }
    chosen = outward(
        "drop", protocol="tcp", ports=25, source_cidrs=["10.1.2.8/29"], destination_cidrs=["192.0.2.0/24"]
    )
    assert elements(egress={"mail": chosen}) == {
        "egress_drop_ports": ["25 . 6 . 192.0.2.0/24 . 10.1.2.8/29"]
    }


def test_every_source_meets_every_destination() -> None:
    both = outward(
        protocol="tcp", ports=1, source_cidrs=["10.1.2.0/30", "10.1.2.8/30"],
        destination_cidrs=["192.0.2.0/24", "198.51.100.0/24"],
    )  # fmt: skip
    assert len(elements(egress={"both": both})["egress_accept_ports"]) == 4


def test_a_crowd_with_one_port_is_told_apart_by_its_addresses() -> None:
    crowd = {
        f"r{n}": rule(protocol="tcp", ports=443, source_cidrs=[f"198.18.{n >> 8}.{n & 255}/32"])
        for n in range(CROWD + 1)
    }
    few = dict(list(crowd.items())[:-1])
    alone = {"other": rule(protocol="tcp", ports=80)}
    for before in ({}, few, crowd):
        # What was there before makes no difference, nor does how it came.
        elements(ingress=before)
        assert {name: len(keys) for name, keys in elements(ingress=few | alone).items()} == {
            "ingress_accept_ports": CROWD + 1
        }
        assert {name: len(keys) for name, keys in elements(ingress=crowd | alone).items()} == {
            "ingress_accept_ports": 1,
            "ingress_accept_crowd": CROWD + 1,
        }
    assert "198.18.0.7 . 203.0.113.5 . 6 . 443" in elements(ingress=crowd)["ingress_accept_crowd"]


def test_rules_that_come_one_by_one_are_as_if_they_had_come_at_once() -> None:
    spans = ("1-9", "20", "30-39", "5-35", "50", "36", "40-49", "45-50", "20")
    rules: dict[str, Any] = {}
    for number, ports in enumerate(spans):
        rules = {**rules, str(number): rule(protocol="tcp", ports=ports)}
        grown = elements(ingress=rules)
        elements()
        assert grown == elements(ingress=rules)
    del rules["3"]
    shrunk = elements(ingress=rules)
    elements()
    assert shrunk == elements(ingress=rules)


def test_rules_of_either_family() -> None:
    value = example("two-networks")
    value["interfaces"]["guest0"]["addresses"].append("fd00:1::1/64")
    value["interfaces"]["public0"]["addresses"].append("2001:db8::5/64")
    value["firewall"] = {
        "ingress": {
            "rules": {
                "own": {"verdict": "accept", "address": "2001:db8::5", "protocol": "tcp", "ports": 443},
                "guest": {
                    "verdict": "drop", "address": "fd00:1::10", "protocol": "icmpv6", "icmp_type": 128,
                    "source_cidrs": ["2001:db8:f::/48"],
                },
            }
        },
        "egress": {
            "guest0": {
                "rules": {
                    "dns": outward(protocol="udp", ports=53),
                    "gre": outward("drop", protocol=47, destination_cidrs=["192.0.2.0/24", "2001:db8::/32"]),
                    "ping": outward("drop", protocol="icmp", icmp_type=8),
                }
            }
        },
    }  # fmt: skip
    cidr = "10.1.1.0/24"
    assert {name: list(keys) for name, keys in firewall.elements(read(value)).items() if keys} == {
        "ingress_accept_ports6": ["443 . 6 . ::/0 . 2001:db8::5"],
        "ingress_drop_icmp6": ["2001:db8:f::/48 . fd00:1::10 . 128"],
        "egress_accept_ports": [f"53 . 17 . 0.0.0.0/0 . {cidr}"],
        "egress_accept_ports6": ["53 . 17 . ::/0 . fd00:1::/64"],
        "egress_drop_protocol": [f"192.0.2.0/24 . {cidr} . 47"],
        "egress_drop_protocol6": ["2001:db8::/32 . fd00:1::/64 . 47"],
        "egress_drop_icmp": [f"0.0.0.0/0 . {cidr} . 8"],
    }
