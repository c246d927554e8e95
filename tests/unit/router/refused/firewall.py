from typing import Any

from tests.unit.router.refused import Case


def ingress(**fields: Any) -> dict[str, Any]:
    values = {"verdict": "accept", "address": "203.0.113.5", "protocol": "tcp", **fields}
    return {"firewall": {"ingress": {"rules": {"new": values}}}}


def egress(**fields: Any) -> dict[str, Any]:
    values = {"verdict": "accept", "protocol": "tcp", **fields}
    return {"firewall": {"egress": {"guest0": {"rules": {"new": values}}}}}


CASES: list[Case] = [
    (
        ingress(address="10.1.1.1"),
        "/firewall/ingress/rules/new/address",
        "no address of a public interface",
    ),
    (
        ingress(protocol="all", ports=80),
        "/firewall/ingress/rules/new/ports",
        "only tcp and udp have ports",
    ),
    (ingress(icmp_type=8), "/firewall/ingress/rules/new/icmp_type", "only icmp and icmpv6 have types"),
    (
        ingress(source_cidrs=["192.0.2.0/24", "fd00::/8"]),
        "/firewall/ingress/rules/new/source_cidrs/1",
        "fd00::/8 and address 203.0.113.5 differ in family",
    ),
    (
        ingress(address="2001:db8:9::1"),
        "/firewall/ingress/rules/new/address",
        "2001:db8:9::1 is no address of a public interface, nor on a guest network",
    ),
    (
        ingress(address="10.1.1.0/24"),
        "/firewall/ingress/rules/new/address",
        "10.1.1.0/24 is no address of a public interface, nor on a guest network without source NAT",
    ),
    (
        egress(source_cidrs=["10.1.1.8/29"], destination_cidrs=["2001:db8::/32"]),
        "/firewall/egress/guest0/rules/new/destination_cidrs/0",
        "has an address of 2001:db8::/32's family",
    ),
    (
        egress(protocol=6, ports=80),
        "/firewall/egress/guest0/rules/new/ports",
        "only tcp and udp have ports",
    ),
    (
        egress(source_cidrs=["10.1.1.0/25", "10.1.0.0/16"]),
        "/firewall/egress/guest0/rules/new/source_cidrs/1",
        "10.1.0.0/16 is not within 10.1.1.0/24",
    ),
]
