"""Rules as elements: each in its set, overlaps cut, open ends filled in."""

from typing import Any

from router import firewall
from tests.examples import example, read


def elements(
    *, ingress: dict[str, Any] | None = None, egress: dict[str, Any] | None = None
) -> dict[str, list[str]]:
    value = example("two-networks")
    value["firewall"] = {"ingress": {"rules": ingress or {}}, "egress": {"guest1": {"rules": egress or {}}}}
    found = firewall.elements(read(value))
    assert list(found) == firewall.SETS, "all sets are named, so that what is gone goes"
    return {name: sorted(keys) for name, keys in found.items() if keys}


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
        "ingress_accept_ports": ["0.0.0.0/0 . 203.0.113.5 . 17 . 53-54", "0.0.0.0/0 . 203.0.113.5 . 6 . 80"]
    }
    assert elements(ingress={"a": rule(protocol="tcp")}) == {
        "ingress_accept_ports": ["0.0.0.0/0 . 203.0.113.5 . 6 . 0-65535"]
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


def test_overlaps_within_one_verdict_are_one_element() -> None:
    rules = {"a": rule(protocol="tcp", ports="10-20"), "b": rule(protocol="tcp", ports="15-30")}
    assert elements(ingress=rules) == {"ingress_accept_ports": ["0.0.0.0/0 . 203.0.113.5 . 6 . 10-30"]}
    rules["b"]["verdict"] = "drop"
    assert elements(ingress=rules) == {
        "ingress_accept_ports": ["0.0.0.0/0 . 203.0.113.5 . 6 . 10-20"],
        "ingress_drop_ports": ["0.0.0.0/0 . 203.0.113.5 . 6 . 15-30"],
    }


def test_the_order_of_rules_means_nothing() -> None:
    rules = {
        str(n): rule(protocol="tcp", ports=f"{n}-{n + 9}", source_cidrs=["192.0.2.0/24"]) for n in (1, 5, 40)
    }
    assert elements(ingress=rules) == elements(ingress=dict(reversed(rules.items())))


def test_egress_is_from_its_network() -> None:
    assert elements(egress={"dns": outward(protocol="udp", ports=53)}) == {
        "egress_accept_ports": ["10.1.2.0/25 . 0.0.0.0/0 . 17 . 53"]
    }
    chosen = outward(
        "drop", protocol="tcp", ports=25, source_cidrs=["10.1.2.8/29"], destination_cidrs=["192.0.2.0/24"]
    )
    assert elements(egress={"mail": chosen}) == {
        "egress_drop_ports": ["10.1.2.8/29 . 192.0.2.0/24 . 6 . 25"]
    }


def test_every_source_meets_every_destination() -> None:
    both = outward(
        protocol="tcp", ports=1, source_cidrs=["10.1.2.0/30", "10.1.2.8/30"],
        destination_cidrs=["192.0.2.0/24", "198.51.100.0/24"],
    )  # fmt: skip
    assert len(elements(egress={"both": both})["egress_accept_ports"]) == 4
