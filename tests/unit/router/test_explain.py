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


def test_what_was_asked_before_makes_no_difference() -> None:
    value = example("everything")
    rules = value["firewall"]["ingress"]["rules"]
    value["firewall"]["ingress"]["rules"] = {"web-wide": rules["web-wide"]}
    asked = stage("@ingress_accept_ports accept", WEB)
    at = "/firewall/ingress/rules"
    assert explain.origins(read(value), asked) == [f"{at}/web-wide"]
    assert explain.origins(EVERYTHING, asked) == [f"{at}/web", f"{at}/web-wide"]


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
    assert limited(
        "update @x { limit rate over 300/second } drop", many, chain="addresses_any_300", verdict="drop"
    ) == ["/limits/addresses/203.0.113.6/new_connections_per_second"]
    web = Packet("10.1.1.10", "1.2.3.4", 6, 1, 9)
    over = "add @x { ether saddr ct count over 20000 } drop"
    assert limited(over, web, chain="guests_20000_2000", verdict="drop") == [
        "/limits/guests/02:00:0a:01:01:0a/connections"
    ]
    own = Packet("fd00:1::50", "2001:db8:9::1", 6, 1, 9)
    assert limited("x limit rate over 500/second drop", own, chain="guests_100_500", verdict="drop") == [
        "/limits/usual/new_connections_per_second"
    ]
    network = 'iifname "guest1" ct count over 30000 drop'
    assert limited(network, BACK, chain="guests", link_in="guest1", verdict="drop") == [
        "/limits/networks/guest1/connections"
    ]


BACK = Packet("10.1.17.10", "1.2.3.4", 6, 1, 9)
PEER, OFFICE = "/wireguard/vpn0/peers/alice", "/ipsec/office/remote_subnets"


@pytest.mark.parametrize(
    ("rule", "packet", "pointers"),
    [
        # Of a set that is looked up both ways it is the rule that says which end is meant.
        ("ip saddr @reach_guest0_4 accept", Packet("10.99.0.2", "10.1.1.10", 6, 1, 9), [PEER]),
        ("ip daddr @reach_guest0_4 accept", Packet("10.1.1.10", "10.99.0.2", 6, 1, 9), [PEER]),
        ("ip saddr @reach_vpn0_4 accept", Packet("10.50.0.9", "10.99.0.2", 6, 1, 9),
         ["/wireguard/vpn0/peers/office"]),
        ("ip6 saddr @reach_guest0_6 accept", Packet("fd00:99::2", "fd00:1::10", 6, 1, 9), [PEER]),
        ("snat ip to ip saddr map @peers_source_nat4", Packet("10.99.0.2", "1.2.3.4", 6, 1, 9),
         ["/wireguard/vpn0/source_nat/0"]),
        ("snat ip6 to ip6 saddr map @peers_source_nat6", Packet("fd00:99::2", "2001:db8::1", 6, 1, 9),
         ["/wireguard/vpn0/source_nat/1"]),
        ("ip daddr . ip saddr @tunnel_pairs4 accept", Packet("192.168.5.9", "10.1.1.10", 6, 1, 9),
         [f"{OFFICE}/0"]),
        ("ip saddr . ip daddr @tunnel_pairs4 accept", Packet("10.1.1.10", "192.168.5.9", 6, 1, 9),
         [f"{OFFICE}/0"]),
        ("ip6 saddr . ip6 daddr @tunnel_pairs6 accept", Packet("fd00:1::10", "fd00:5::9", 6, 1, 9),
         [f"{OFFICE}/1"]),
        ("ip saddr . ip daddr @user_pairs4 accept", Packet("10.1.1.10", "10.200.0.9", 6, 1, 9),
         ["/remote_access/users"]),
        ("ip daddr . ip saddr @user_pairs4 accept", Packet("10.201.0.9", "10.1.16.10", 6, 1, 9),
         ["/remote_access/users"]),
        ("ip saddr @tunnel_users4 accept", Packet("10.200.0.9", "1.2.3.4", 6, 1, 9),
         ["/remote_access/full_tunnel"]),
        ("snat ip to ip saddr map @tunnel_source_nat", Packet("10.200.0.9", "1.2.3.4", 6, 1, 9),
         ["/remote_access/source_nat"]),
        ("dnat ip to map @udp_chance4", Packet("1.2.3.4", "203.0.113.7", 17, 1, 53),
         ["/load_balancers/names"]),
        ("@udp_limited4 x != @udp_sources4 accept", Packet("1.2.3.4", "203.0.113.7", 17, 1, 53),
         ["/load_balancers/names/source_cidrs"]),
        ("@listening_ports4 accept", Packet("1.2.3.4", "203.0.113.7", 17, 1, 51820),
         ["/wireguard/vpn0/listen"]),
        ("@open_ports4 accept", Packet("1.2.3.4", "203.0.113.5", 17, 1, 500), ["/ipsec/old/local_address"]),
        ("@listening_protocols4 accept", Packet("1.2.3.4", "203.0.113.7", 50),
         ["/remote_access/ikev2/address"]),
    ],
)  # fmt: skip
def test_tunnels_and_what_is_served(rule: str, packet: Packet, pointers: list[str]) -> None:
    assert explain.origins(EVERYTHING, stage(rule, packet)) == pointers


def dropped(packet: Packet, link_in: str, link_out: str, **fields: Any) -> list[str]:
    values = {"chain": "forward", "rule": "policy", "verdict": "drop", **fields}
    return list(
        explain.origins(EVERYTHING, stage(packet=packet, link_in=link_in, link_out=link_out, **values))
    )


def test_whom_tunnels_do_not_let_pass() -> None:
    alice, office = Packet("10.99.0.2", "10.2.1.9", 6, 1, 9), Packet("10.50.0.9", "10.1.17.9", 6, 1, 9)
    assert dropped(alice, "vpn0", "guest2") == ["/wireguard/vpn0/reach"]
    assert dropped(office, "vpn0", "guest1") == ["/wireguard/vpn0/peers/office/reach"]
    assert dropped(Packet("10.1.17.9", "10.50.0.9", 6, 1, 9), "guest1", "vpn0") == [
        "/wireguard/vpn0/peers/office/reach"
    ]
    nobody = Packet("10.1.1.9", "10.99.0.77", 6, 1, 9)
    assert dropped(nobody, "guest0", "vpn0") == ["/wireguard/vpn0/addresses/0"]
    in_tunnel: Any = {"chain": "forward_tunnel", "rule": "drop"}
    assert dropped(Packet("10.1.17.9", "192.168.5.9", 6, 1, 9), "guest1", "ipsec0", **in_tunnel) == [
        "/ipsec/office/local_subnets"
    ]
    assert dropped(Packet("10.200.0.9", "10.1.17.9", 6, 1, 9), "ipsec0", "guest1", **in_tunnel) == [
        "/remote_access/subnets"
    ]
    forged = {"chain": "spoofed", "rule": "ip saddr @peers4 drop"}
    assert dropped(Packet("10.99.0.2", "10.1.1.9", 6, 1, 9), "guest0", "", **forged) == [PEER]
    forged = {"chain": "spoofed_tunnel", "rule": "x drop"}
    assert dropped(Packet("1.2.3.4", "10.1.1.9", 6, 1, 9), "vpn7", "", **forged) == [
        "/ipsec/branch/remote_subnets"
    ]


@pytest.mark.parametrize(
    ("route", "source", "link_in", "pointers"),
    [
        ("172.20.0.0/16 via 172.16.0.1 dev private0", "10.2.1.9", "guest2", ["/routes/branch"]),
        ("fd00:9::/48 via fd00:1::fe dev guest0", "fd00:2::9", "guest2", ["/routes/lab6"]),
        ("default via 203.0.113.1 dev public0", "10.1.1.9", "guest0",
         ["/interfaces/public0/gateway", "/source_nat/guest0"]),
        ("default via 192.0.2.1 dev public1", "10.2.1.9", "guest2",
         ["/interfaces/public1/gateway", "/source_nat/guest2"]),
        ("default via 203.0.113.1 dev public0", "10.1.1.11", "guest0",
         ["/interfaces/public0/gateway", "/static_nat/203.0.113.6"]),
        ("default via 2001:db8::1 dev public0", "fd00:1::9", "guest0", ["/interfaces/public0/gateway6"]),
        ("10.2.2.0/24 dev guest3", "10.2.1.9", "guest2", ["/interfaces/guest3/addresses/0"]),
        ("10.50.0.0/16 dev vpn0", "10.1.1.9", "guest0", ["/wireguard/vpn0/peers/office/allowed_ips/1"]),
        ("10.99.0.0/24 dev vpn0", "10.1.1.9", "guest0", ["/wireguard/vpn0/addresses/0"]),
        ("192.168.6.0/24 dev vpn7", "10.1.16.9", "guest1", ["/ipsec/branch/remote_subnets/0"]),
        ("10.200.0.0/24 dev ipsec0", "10.1.1.9", "guest0", ["/remote_access/pool/0"]),
    ],
)  # fmt: skip
def test_ways(route: str, source: str, link_in: str, pointers: list[str]) -> None:
    packet = Packet(source, "2001:db8:9::1" if ":" in source else "1.2.3.4", 6, 1, 9)
    led = stage(route, packet, chain="route", table="", link_in=link_in, verdict="route")
    assert explain.origins(EVERYTHING, led) == pointers


UNEXPLAINED = ("limited", "pair", "peers4", "peers6", "routed4", "udp_sources", "tcp_sources", "way_out")
"""Sets that say by which way something goes, or are named by their chain."""


def test_every_set_of_the_filter_has_what_makes_it() -> None:
    (table,) = [item for item in ruleset.resources(EVERYTHING) if getattr(item, "table", "") == "sysvm"]
    made = {item.set.rpartition("@")[2] for make in explain.MAKERS for item in make(EVERYTHING)}
    filled = {name for name, elements in table.elements.items() if elements}  # type: ignore[union-attr]
    unexplained = {name for name in filled if name.startswith(UNEXPLAINED)}
    # The redundant pair's own are between the two routers.
    assert {name for name in filled - unexplained if not name.endswith("_protocols4")} <= made
