"""From a rule that had its effect to the line of the document."""

from typing import Any

import pytest

from appliance.agent.explanation import Stage
from appliance.agent.packet import Packet
from router import explain, ruleset
from tests.examples import document, example, read

EVERYTHING = document("everything")


def stage(
    rule: str, packet: Packet, *, chain: str = "", link_in: str = "public0", link_out: str = "",
    table: str = "sysvm", verdict: str = "accept",
) -> Stage:  # fmt: skip
    return Stage(table, chain, rule, verdict, packet, link_in, link_out)


WEB = Packet("198.51.100.7", "203.0.113.5", 6, 61000, 8080)
MAIL = Packet("10.1.1.130", "192.0.2.9", 6, 61000, 25)


@pytest.mark.parametrize(
    ("rule", "packet", "found"),
    [
        ("@ingress_accept_ports accept", WEB, ["web", "web-wide"]),
        ("@ingress_accept_crowd accept", WEB, ["web", "web-wide"]),
        ("@ingress_accept_icmp accept", Packet("1.2.3.4", "203.0.113.5", 1, icmp_type=8), ["ping"]),
        ("@ingress_accept_icmp accept", Packet("1.2.3.4", "203.0.113.5", 1, icmp_type=13), []),
        ("@ingress_drop_protocol drop", Packet("192.0.2.70", "203.0.113.5", 6, 1, 8080), ["bad"]),
        ("@ingress_drop_protocol drop", WEB, []),
        ("@ingress_accept_protocol accept", Packet("1.2.3.4", "203.0.113.6", 47), ["tunnel"]),
    ],
)
def test_ingress_rules(rule: str, packet: Packet, found: list[str]) -> None:
    pointers = [f"/firewall/ingress/rules/{name}" for name in found]
    assert explain.origins(EVERYTHING, stage(rule, packet)) == pointers


def test_egress_rules_are_their_network_s() -> None:
    at = "/firewall/egress/guest0/rules/"
    rule = "@egress_drop_ports drop"
    assert sorted(explain.origins(EVERYTHING, stage(rule, MAIL))) == [f"{at}mail-of-web", f"{at}no-mail"]
    other = Packet("10.1.17.10", "192.0.2.9", 17, 61000, 53)
    assert explain.origins(EVERYTHING, stage("@egress_accept_ports accept", other)) == [
        "/firewall/egress/guest1/rules/dns"
    ]


@pytest.mark.parametrize(
    ("rule", "packet", "pointer"),
    [
        ("dnat ip to map @forward_port", WEB, "/port_forwards/web"),
        ("map @forward_range", Packet("1.2.3.4", "203.0.113.5", 17, 1, 27007), "/port_forwards/game"),
        ("map @forward_port_from", Packet("192.0.2.7", "203.0.113.7", 6, 1, 22), "/port_forwards/office"),
        ("map @static_nat", Packet("1.2.3.4", "203.0.113.6", 6, 1, 9), "/static_nat/203.0.113.6"),
        ("map @static_nat_out", Packet("10.1.1.11", "1.2.3.4", 6, 1, 9), "/static_nat/203.0.113.6"),
        ("map @source_nat", Packet("10.1.1.10", "1.2.3.4", 6, 1, 9), "/source_nat/guest0"),
    ],
)
def test_translations(rule: str, packet: Packet, pointer: str) -> None:
    assert explain.origins(EVERYTHING, stage(rule, packet)) == [pointer]


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"chain": "ingress", "rule": "drop"}, ["/firewall/ingress/policy"]),
        ({"chain": "egress_guest1", "rule": "drop"}, ["/firewall/egress/guest1/policy"]),
        ({"chain": "spoofed", "rule": "x drop", "link_in": "guest0"}, ["/interfaces/guest0/addresses"]),
        ({"chain": "forward", "rule": "policy", "verdict": "drop"}, []),
        ({"chain": "forward", "rule": "accept", "link_in": "guest0", "link_out": "guest0"},
         ["/interfaces/guest0"]),
    ],
)  # fmt: skip
def test_chains(fields: dict[str, Any], pointers: list[str]) -> None:
    assert explain.origins(EVERYTHING, stage(packet=WEB, **fields)) == pointers


def test_a_network_without_egress_rules_has_none_to_point_to() -> None:
    value = example("everything")
    del value["firewall"]["egress"]["guest1"]
    dropped = stage("drop", MAIL, chain="egress_guest1")
    assert explain.origins(read(value), dropped) == ["/firewall/egress"]


def test_what_the_router_serves() -> None:
    for port, section in ((53, "dns"), (67, "dhcp"), (80, "metadata")):
        asked = Packet("10.1.1.10", "10.1.1.1", 17, 61000, port)
        found = explain.origins(EVERYTHING, stage("accept", asked, chain="input_guest0", link_in="guest0"))
        assert found == [f"/{section}/guest0"]


def test_limits() -> None:
    def limited(rule: str, packet: Packet, **fields: Any) -> list[str]:
        return list(explain.origins(EVERYTHING, stage(rule, packet, table="sysvm_limits", **fields)))

    out, back = Packet("10.1.1.11", "1.2.3.4", 6, 1, 9), Packet("1.2.3.4", "10.1.1.10", 6, 9, 1)
    assert limited("limit name ip saddr map @guest_sent4 drop", out) == ["/limits/guests/10.1.1.11/sent"]
    assert limited("limit name ip daddr map @guest_received4 drop", back) == [
        "/limits/guests/02:00:0a:01:01:0a/received"
    ]
    assert limited("limit name iifname map @network_sent drop", back, link_in="guest1") == [
        "/limits/networks/guest1/sent"
    ]
    assert limited("update @usual_new { x } drop", out, chain="guests") == [
        "/limits/usual/new_connections_per_second"
    ]
    assert limited("update @dns_packets { x } drop", out) == ["/limits/usual/dns_packets_per_second"]
    many = Packet("1.2.3.4", "203.0.113.6", 6, 1, 9)
    assert limited("x drop", many, chain="addresses_any_300") == ["/limits/addresses/203.0.113.6"]


UNEXPLAINED = (
    "limited", "listening", "open", "pair", "peers", "reach", "tunnel", "udp_", "way_out",
)  # fmt: skip
"""Sets that say by which way something goes, or that it is the router's own: no line of the document's rules
is behind their verdicts."""


def test_every_set_of_the_filter_has_what_makes_it() -> None:
    (table,) = [item for item in ruleset.resources(EVERYTHING) if getattr(item, "table", "") == "sysvm"]
    made = {item.set for make in explain.MAKERS for item in make(EVERYTHING)}
    filled = {name for name, elements in table.elements.items() if elements}  # type: ignore[union-attr]
    unexplained = {name for name in filled if name.startswith(UNEXPLAINED)}
    assert filled - unexplained <= made
