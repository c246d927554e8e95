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


def options(**fields: Any) -> dict[str, Any]:
    return guest0("dhcp", {"options": fields})


def route(**fields: Any) -> dict[str, Any]:
    return {"routes": {"new": {"destination": "10.7.0.0/16", "gateway": "10.1.1.254", **fields}}}


def ranges(*ends: tuple[str, str]) -> dict[str, Any]:
    return guest0("dhcp", {"ranges": [{"first": first, "last": last} for first, last in ends]})


CASES: dict[str, list[Case]] = {
    "interfaces": [
        (
            {"interfaces": {"eth0": {"mac": "02:00:00:00:00:09"}}},
            "/interfaces/eth0",
            "guest, public, private and sync",
        ),
        ({"interfaces": {"control0": {"mac": "02:00:00:00:00:09"}}}, "/interfaces/control0", "boot data"),
        (
            {"interfaces": {"public1": {"mac": "02:00:0a:01:01:01"}}},
            "/interfaces/public1/mac",
            "the MAC of guest0, too",
        ),
        (
            {"interfaces": {"public1": {"mac": "02:00:00:00:00:09", "addresses": ["203.0.113.5/32"]}}},
            "/interfaces/public1/addresses/0",
            "203.0.113.5 is an address of public0, too",
        ),
        (
            {"interfaces": {"public0": {"gateway": "192.0.2.1"}}},
            "/interfaces/public0/gateway",
            "on none of its networks",
        ),
        (
            {"interfaces": {"guest0": {"gateway": "10.1.1.2"}}},
            "/interfaces/public0/gateway",
            "guest0 has the default",
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
        (route(gateway="192.0.2.1"), "/routes/new/gateway", "on no interface's network"),
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
                "interfaces": {"public1": {"mac": "02:00:00:00:00:09", "addresses": ["203.0.113.8/32"]}},
            },
            "/static_nat/203.0.113.8/target",
            "10.1.1.11 has 203.0.113.6 already",
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
    "limits": [
        (
            {"limits": {"guests": {"02:00:00:00:00:77": {"connections": 1}}}},
            "/limits/guests/02:00:00:00:00:77",
            "neither a reservation nor metadata",
        ),
        (
            {"limits": {"guests": {"10.1.99.1": {"connections": 1}}}},
            "/limits/guests/10.1.99.1",
            "on no guest network",
        ),
        (
            {"limits": {"guests": {"10.1.1.10": {"connections": 1}}}},
            "/limits/guests/10.1.1.10",
            f"10.1.1.10 has that of {WEB}, too",
        ),
        (
            {"limits": {"networks": {"guest7": {"connections": 1}}}},
            "/limits/networks/guest7",
            "no guest interface",
        ),
        (
            {"limits": {"addresses": {"192.0.2.1": {"connections": 1}}}},
            "/limits/addresses/192.0.2.1",
            "no address of a public interface",
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
