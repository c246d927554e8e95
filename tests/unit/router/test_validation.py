"""Every sentence that refuses a document, and the place that it points to."""

from typing import Any

import pytest

from appliance.model import merge_patch
from router.validation import CHECKS
from tests.examples import NAMES, document, example, looked_up, problems

WEB = "02:00:0a:01:01:0a"
DATABASE = "02:00:0a:01:01:0b"
Case = tuple[dict[str, Any], str, str]


def forward(**fields: Any) -> dict[str, Any]:
    values = {"address": "203.0.113.5", "protocol": "tcp", "ports": 1, "target": "10.1.1.10", **fields}
    return {"port_forwards": {"new": values}}


def ingress(**fields: Any) -> dict[str, Any]:
    values = {"verdict": "accept", "address": "203.0.113.5", "protocol": "tcp", **fields}
    return {"firewall": {"ingress": {"rules": {"new": values}}}}


def egress(**fields: Any) -> dict[str, Any]:
    values = {"verdict": "accept", "protocol": "tcp", **fields}
    return {"firewall": {"egress": {"guest0": {"rules": {"new": values}}}}}


def guest0(section: str, values: Any) -> dict[str, Any]:
    return {section: {"guest0": values}}


def reservation(mac: str, **fields: Any) -> dict[str, Any]:
    return guest0("dhcp", {"reservations": {mac: fields}})


def redundancy(**fields: Any) -> dict[str, Any]:
    return {"redundancy": fields}


def path(link: str, address: str, peer: str) -> dict[str, Any]:
    return redundancy(paths={link: {"address": address, "peer": peer}})


def options(**fields: Any) -> dict[str, Any]:
    return guest0("dhcp", {"options": fields})


def route(**fields: Any) -> dict[str, Any]:
    return {"routes": {"new": {"destination": "10.7.0.0/16", "gateway": "10.1.1.254", **fields}}}


def ranges(*ends: tuple[str, str]) -> dict[str, Any]:
    return guest0("dhcp", {"ranges": [{"first": first, "last": last} for first, last in ends]})


def acl_rule(**fields: Any) -> dict[str, Any]:
    return {
        "acls": {
            "front": {
                "rules": {"new": {"number": 99, "direction": "ingress", "verdict": "accept", **fields}}
            }
        }
    }


CASES: dict[str, list[Case]] = {
    "interfaces": [
        (
            {"interfaces": {"eth0": {"mac": "02:00:00:00:00:09"}}},
            "/interfaces/eth0",
            "guest, public, private and sync",
        ),
        ({"interfaces": {"control0": {"mac": "02:00:00:00:00:09"}}}, "/interfaces/control0", "boot data"),
        (
            {"interfaces": {"public2": {"mac": "02:00:0a:01:01:01"}}},
            "/interfaces/public2/mac",
            "the MAC of guest0, too",
        ),
        (
            {"interfaces": {"public2": {"mac": "02:00:00:00:00:09", "addresses": ["203.0.113.5/32"]}}},
            "/interfaces/public2/addresses/0",
            "203.0.113.5 is an address of public0, too",
        ),
        (
            {"interfaces": {"public0": {"gateway": "198.51.100.1"}}},
            "/interfaces/public0/gateway",
            "on none of its networks",
        ),
        (
            {"interfaces": {"guest0": {"gateway": "10.1.1.2"}}},
            "/interfaces/guest0/gateway",
            "public0 has a default gateway already",
        ),
        (
            {"interfaces": {"public0": {"gateway6": "2001:db8::5"}}},
            "/interfaces/public0/gateway6",
            "is its own address",
        ),
        (
            {"interfaces": {"public1": {"gateway6": "192.0.2.1"}}},
            "/interfaces/public1/gateway6",
            "is no IPv6 address",
        ),
        (
            {"interfaces": {"public0": {"gateway": "2001:db8::2"}}},
            "/interfaces/public0/gateway6",
            "is IPv6's default gateway already",
        ),
        (
            {"interfaces": {"guest2": {"mac": "02:00:00:00:00:09", "addresses": ["10.4.0.1/31"]}}},
            "/interfaces/guest2/addresses/0",
            "between 8 and 30",
        ),
        (
            {
                "interfaces": {
                    "guest2": {"mac": "02:00:00:00:00:09", "addresses": ["fd00:4::1/64", "10.1.1.129/25"]}
                }
            },
            "/interfaces/guest2/addresses/1",
            "10.1.1.128/25 overlaps 10.1.1.0/24 of guest0",
        ),
    ],
    "routes": [
        (route(destination="0.0.0.0/0"), "/routes/new/destination", "an interface's gateway"),
        (route(gateway="fd00:1::2"), "/routes/new/gateway", "differ in family"),
        (route(gateway="198.51.100.1"), "/routes/new/gateway", "on no interface's network"),
        (route(destination="10.9.0.0/16", metric=10), "/routes/new/destination", "is route lab's, too"),
    ],
    "sections": [
        ({section: {"guest7": value}}, f"/{section}/guest7", "guest7 is no guest interface")
        for section, value in {
            "dhcp": {},
            "dns": {"domain": "x.example"},
            "source_nat": {"address": "203.0.113.5"},
            "metadata": {},
        }.items()
    ]
    + [
        (
            {"firewall": {"egress": {"public0": {}}}},
            "/firewall/egress/public0",
            "public0 is no guest interface",
        ),
    ],
    "dhcp": [
        (ranges(("10.1.2.1", "10.1.2.9")), "/dhcp/guest0/ranges/0", "not within 10.1.1.0/24"),
        (ranges(("10.1.1.9", "10.1.1.5")), "/dhcp/guest0/ranges/0", "ends before it starts"),
        (
            ranges(("10.1.1.5", "10.1.1.9"), ("10.1.1.9", "10.1.1.20")),
            "/dhcp/guest0/ranges/1",
            "overlaps another",
        ),
        (options(extra={"6": "10.1.1.1"}), "/dhcp/guest0/options/extra/6", "field of its own"),
        (options(extra={"53": "5"}), "/dhcp/guest0/options/extra/53", "the protocol's own"),
        (options(router="10.1.2.1"), "/dhcp/guest0/options/router", "10.1.2.1 is not within 10.1.1.0/24"),
        (
            options(routes=[{"destination": "10.8.0.0/16", "gateway": "10.9.0.1"}]),
            "/dhcp/guest0/options/routes/0/gateway",
            "10.9.0.1 is not within",
        ),
        (
            reservation(WEB, options={"router": "10.9.9.9"}),
            f"/dhcp/guest0/reservations/{WEB}/options/router",
            "not within",
        ),
        *(
            (
                reservation(DATABASE, address=address),
                f"/dhcp/guest0/reservations/{DATABASE}/address",
                "no address for a guest",
            )
            for address in ("10.1.1.0", "10.1.1.255", "10.1.1.1", "10.1.2.5")
        ),
        (
            reservation(DATABASE, address="10.1.1.10"),
            f"/dhcp/guest0/reservations/{DATABASE}/address",
            f"reserved for {WEB}",
        ),
        (
            reservation(DATABASE, hostname="web"),
            f"/dhcp/guest0/reservations/{DATABASE}/hostname",
            f"{WEB} is named web, too",
        ),
        (
            {"dhcp": {"guest1": {"reservations": {WEB: {"address": "10.1.17.20"}}}}},
            f"/dhcp/guest1/reservations/{WEB}",
            "a reservation of guest0, too",
        ),
        (
            reservation("02:00:cb:00:71:05", address="10.1.1.20"),
            "/dhcp/guest0/reservations/02:00:cb:00:71:05",
            "the MAC of interface public0",
        ),
    ],
    "dns": [
        (guest0("dns", {"networks": ["guest0"]}), "/dns/guest0/networks/0", "no other network"),
        (guest0("dns", {"networks": ["guest7"]}), "/dns/guest0/networks/0", "no other network"),
        (
            {"dns": {"guest1": {"domain": "cs1.example"}}},
            "/dns/guest0/networks/0",
            "the same domain cs1.example",
        ),
        (
            guest0("dns", {"upstreams": [{"address": "10.1.16.1"}]}),
            "/dns/guest0/upstreams/0/address",
            "this router itself",
        ),
        (
            guest0("dns", {"aliases": {"printer": "web"}}),
            "/dns/guest0/aliases/printer",
            "has other records, too",
        ),
    ],
    "nat": [
        (
            {"source_nat": {"guest0": {"address": "192.0.2.1"}}},
            "/source_nat/guest0/address",
            "no address of a public",
        ),
        (
            {"static_nat": {"192.0.2.1": {"target": "10.1.1.20"}}},
            "/static_nat/192.0.2.1",
            "no address of a public",
        ),
        (
            {"source_nat": {"guest0": {"address": "203.0.113.6"}}},
            "/static_nat/203.0.113.6",
            "used for source NAT, too",
        ),
        (
            {"static_nat": {"203.0.113.6": {"target": "10.3.0.1"}}},
            "/static_nat/203.0.113.6/target",
            "on no guest network",
        ),
        (
            {
                "static_nat": {"203.0.113.8": {"target": "10.1.1.11"}},
                "interfaces": {"public2": {"mac": "02:00:00:00:00:09", "addresses": ["203.0.113.8/32"]}},
            },
            "/static_nat/203.0.113.8/target",
            "10.1.1.11 has 203.0.113.6 already",
        ),
    ],
    "acls": [
        (acl_rule(number=10), "/acls/front/rules/new/number", "number 10 of ingress is web's, too"),
        (acl_rule(ports=[80]), "/acls/front/rules/new/ports", "only tcp and udp have ports"),
        (
            acl_rule(protocol="tcp", icmp_type=8),
            "/acls/front/rules/new/icmp_type",
            "only icmp and icmpv6 have types",
        ),
        (acl_rule(protocol="icmp", icmp_code=8), "/acls/front/rules/new/icmp_code", "a code is of a type"),
        (
            acl_rule(protocol="icmp", cidrs=["10.0.0.0/8", "fd00::/8"]),
            "/acls/front/rules/new/cidrs/1",
            "icmp has no part in fd00::/8",
        ),
        ({"tiers": {"guest2": {"acl": "gone"}}}, "/tiers/guest2/acl", "there is no access list gone"),
        ({"tiers": {"guest9": {"acl": "front"}}}, "/tiers/guest9", "guest9 is no guest interface"),
        ({"tiers": {"guest0": {"acl": "front"}}}, "/firewall/egress/guest0", "the firewall has no say"),
        (
            {"private_gateways": {"private0": {"acl": "gone"}}},
            "/private_gateways/private0/acl",
            "there is no access list gone",
        ),
        (
            {"private_gateways": {"guest0": {}}},
            "/private_gateways/guest0",
            "guest0 is no private interface",
        ),
        (
            {"interfaces": {"private0": {"addresses": ["fd00:3::1/64"]}}, "routes": {"branch": None}},
            "/private_gateways/private0/source_nat",
            "has no IPv4 address to go out with",
        ),
        (
            {
                "acls": {
                    "front": {
                        "rules": {
                            f"deep{n}": {
                                "number": 100 + n,
                                "direction": "ingress",
                                "verdict": "drop",
                                "protocol": "udp",
                                "ports": [f"{n + 1}-{n + 100}"],
                            }
                            for n in range(70)
                        }
                    }
                }
            },
            "/acls/front/rules",
            "more than 64 of its rules overlap",
        ),
    ],
    "port_forwards": [
        (
            forward(address="192.0.2.1"),
            "/port_forwards/new/address",
            "192.0.2.1:1/tcp: 192.0.2.1 is no address of a public",
        ),
        (forward(address="203.0.113.6"), "/port_forwards/new/address", "static NAT for all its ports"),
        (
            forward(target="10.1.9.9"),
            "/port_forwards/new/target",
            "203.0.113.5:1/tcp: target 10.1.9.9 is on no guest",
        ),
        (forward(ports="8079-8081"), "/port_forwards/web/ports", "overlap those of port forward new"),
        (
            forward(ports="1-9", target_ports="1-8"),
            "/port_forwards/new/target_ports",
            "1-8 is not as many ports as 1-9",
        ),
        (
            forward(ports="10000-11024", target_ports="20000-21024"),
            "/port_forwards/new/target_ports",
            "at most 1024 ports",
        ),
    ],
    "firewall": [
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
        (ingress(icmp_type=8), "/firewall/ingress/rules/new/icmp_type", "only icmp has types"),
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
    ],
    "metadata": [
        (
            guest0("metadata", {"guests": {"02:00:00:00:00:77": {"instance_id": "i"}}}),
            "/metadata/guest0/guests/02:00:00:00:00:77",
            "neither an address of its own nor a reservation",
        ),
        (
            guest0("metadata", {"guests": {WEB: {"address": "10.1.2.9"}}}),
            f"/metadata/guest0/guests/{WEB}/address",
            "10.1.2.9 is no address for a guest of guest0",
        ),
        (
            guest0("metadata", {"guests": {"02:00:0a:01:01:63": {"address": "10.1.1.10"}}}),
            "/metadata/guest0/guests/02:00:0a:01:01:63/address",
            f"10.1.1.10 is {WEB}'s, too",
        ),
    ],
    "redundancy": [
        (redundancy(peer="r1"), "/redundancy/peer", "this router itself"),
        (redundancy(sync="guest0"), "/redundancy/sync", "no link of its own"),
        (redundancy(sync="sync1"), "/redundancy/sync", "there is no interface sync1"),
        (
            {**redundancy(sync="sync1"), "interfaces": {"sync1": {"mac": "02:00:a9:fe:04:11"}}},
            "/redundancy/paths",
            "sync1 is no path",
        ),
        (
            redundancy(multicast="public1"),
            "/redundancy/multicast",
            "public1, for multicast adverts, is no path",
        ),
        (path("public7", "169.254.7.1/30", "169.254.7.2"), "/redundancy/paths/public7", "no such interface"),
        (
            path("public1", "169.254.7.1/30", "169.254.7.1"),
            "/redundancy/paths/public1/peer",
            "its own address",
        ),
        (
            path("public1", "169.254.7.1/30", "169.254.7.9"),
            "/redundancy/paths/public1/peer",
            "is not within 169.254.7.0/30",
        ),
        (
            path("public1", "192.0.2.8/24", "192.0.2.9"),
            "/redundancy/paths/public1/address",
            "whose addresses move",
        ),
        (
            path("public1", "169.254.5.2/24", "169.254.5.3"),
            "/redundancy/paths/public1",
            "169.254.5.2 is on path public0, too",
        ),
        (path("public1", "fd00:7::1/64", "fd00:7::2"), "/redundancy/paths", "some paths have IPv4"),
        (redundancy(path_network="169.254.128.0/22"), "/redundancy/path_network", "a /21 at least"),
        (redundancy(path_network="169.254.0.0/20"), "/redundancy/path_network", "of path sync0"),
        (redundancy(path_network="10.2.0.0/20"), "/redundancy/path_network", "of interface guest2"),
        (redundancy(path_network="169.254.248.0/21"), "/redundancy/path_network", "VRRP's own"),
        (
            {"interfaces": {"sync0": {"addresses": ["169.254.9.1/30"]}}},
            "/interfaces/sync0/addresses/0",
            "in the redundancy section",
        ),
    ],
}


@pytest.mark.parametrize(
    ("noun", "case"),
    [(noun, case) for noun, cases in CASES.items() for case in cases],
    ids=lambda value: value[1] if isinstance(value, tuple) else value,
)
def test_sentences(noun: str, case: Case) -> None:
    patch, pointer, sentence = case
    value = merge_patch(example("everything"), patch)
    found = problems(value)
    assert [problem.pointer for problem in found] == [pointer]
    assert sentence in found[0].detail
    assert found[0].detail[0].isupper() or found[0].detail.startswith(("guest", "public"))
    looked_up(value, pointer)


def test_every_check_is_tested() -> None:
    assert {check.__module__.rpartition(".")[2] for check in CHECKS} == CASES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_examples_have_no_problems(name: str) -> None:
    value = document(name)
    for check in CHECKS:
        assert not list(check(value))


def test_all_that_is_wrong_is_said_at_once() -> None:
    value = merge_patch(example("everything"), {**forward(target="10.1.9.9"), **ingress(icmp_type=8)})
    assert [problem.pointer for problem in problems(value)] == [
        "/port_forwards/new/target", "/firewall/ingress/rules/new/icmp_type",
    ]  # fmt: skip
