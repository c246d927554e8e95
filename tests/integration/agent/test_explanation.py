"""Probes through a real ruleset in a network namespace: what becomes of them, and that nobody meets them."""

import fcntl
import os
import select
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.agent.explanation import Explanation, Question, QuestionError, explain
from appliance.engine import conntrack
from appliance.engine.host import Host
from appliance.engine.transaction import converge
from appliance.model import validated
from appliance.resources import Rule, Ruleset
from appliance.roles import resources
from appliance.route import Route
from router import role, tunnel_filter
from router.document import RouterDocument
from tests.examples import document
from tests.namespace import entered

LINKS = {
    "guest0": ["10.1.1.1/24", "fd00:1::1/64"],
    "guest1": ["10.1.16.1/20"],
    "guest2": ["10.2.1.1/24", "fd00:2::1/64"],
    "guest3": ["10.2.2.1/24"],
    "public0": ["203.0.113.5/24", "203.0.113.6/24", "203.0.113.7/24", "2001:db8::5/64"],
    "public1": ["192.0.2.5/24", "192.0.2.6/24"],
    "private0": ["172.16.0.2/24"],
}
TUNNELS = {"vpn0": ["10.99.0.1/24", "fd00:99::1/64"], "vpn7": [], "ipsec0": []}
"""Links without cards, as they are where the kernel has no WireGuard and no IPsec."""
OUTSIDE = "198.51.100.7"
USERS = {"alice": "10.200.0.9", "bob@example.org": "10.200.0.8"}
"""Who of remote access has which address, as strongSwan says when a session begins."""
_TUNSETIFF, _TUN = 0x400454CA, 0x1001  # IFF_TUN with IFF_NO_PI


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def tunnel(link: str) -> int:
    """The end of it that a daemon holds: without one the kernel takes the link for down."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", link.encode(), _TUN))
    return descriptor


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterDocument]:
    """The links of docs/examples/everything.json with its rules; this thread is where they are."""
    with entered(), ExitStack() as stack:
        run("ip", "link", "set", "lo", "up")
        for link, addresses in LINKS.items():
            run("ip", "link", "add", link, "type", "veth", "peer", "name", f"far-{link}")
            for each in (link, f"far-{link}"):
                run("ip", "link", "set", each, "up")
            for address in addresses:
                run("ip", "address", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
        for link, addresses in TUNNELS.items():
            stack.callback(os.close, tunnel(link))
            run("ip", "link", "set", link, "up")
            for address in addresses:
                run("ip", "address", "add", address, "dev", link)
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path(f"/proc/sys/net/{setting}").write_text("1")
        found = document("everything")
        host = Host(generated=tmp_path_factory.mktemp("run"))
        kinds = (Ruleset, Route, Rule)
        converge([item for item in resources(found) if isinstance(item, kinds)], host)
        users = tunnel_filter.users(found)
        assert users is not None
        for user, address in USERS.items():
            pairs = ", ".join(
                f"{network} . {address}" for network in users.reached[user] if ":" not in network
            )
            run("nft", f"add element inet sysvm user_pairs4 {{ {pairs} }}")
        yield found
        host.ip.close()


@pytest.fixture
def ask(running: RouterDocument) -> Any:
    def ask(source: str, destination: str, **fields: Any) -> Explanation:
        question = validated(Question, {"from": source, "to": destination, **fields})
        return explain(question, running, role.origins)

    return ask


def seen(explanation: Explanation) -> tuple[str, str | None]:
    return explanation.outcome, explanation.pointer


def test_a_port_forward(ask: Any) -> None:
    found = ask(OUTSIDE, "203.0.113.5", port=8080)
    assert seen(found) == ("forwarded", "/firewall/ingress/rules/web")
    assert (found.link_in, found.link_out) == ("public0", "guest0")
    assert (found.leaves.destination, found.leaves.port) == ("10.1.1.10", 80)
    assert ["/port_forwards/web"] in [stage["pointers"] for stage in found.stages]
    assert "10.1.1.10:80" in found.detail


def test_static_nat_both_ways(ask: Any) -> None:
    found = ask(OUTSIDE, "203.0.113.6", port=9)
    assert seen(found) == ("forwarded", "/firewall/ingress/rules/all")
    assert found.leaves.destination == "10.1.1.11"
    assert ["/static_nat/203.0.113.6"] in [stage["pointers"] for stage in found.stages]
    found = ask("10.1.1.11", OUTSIDE, port=9)
    assert found.leaves.source == "203.0.113.6"
    assert told(found, "translate_source") == ["/static_nat/203.0.113.6"]


@pytest.mark.parametrize(
    ("source", "destination", "fields", "pointer"),
    [
        (OUTSIDE, "203.0.113.5", {"port": 22}, "/firewall/ingress/policy"),
        ("192.0.2.70", "203.0.113.5", {"port": 8080}, "/firewall/ingress/rules/bad"),
        ("10.1.1.10", OUTSIDE, {"port": 25}, "/firewall/egress/guest0/rules/no-mail"),
        ("10.1.17.10", OUTSIDE, {"port": 443}, "/firewall/egress/guest1/policy"),
        ("8.8.8.8", OUTSIDE, {"port": 443, "link": "guest0"}, "/interfaces/guest0/addresses"),
        # Nothing leads from one network to another, nor to what the router doesn't serve.
        ("10.1.1.10", "10.1.17.10", {"port": 443}, None),
        ("10.1.1.10", "10.1.1.1", {"port": 99}, None),
    ],
)
def test_what_is_dropped(ask: Any, source: str, destination: str, fields: Any, pointer: str | None) -> None:
    found = ask(source, destination, **fields)
    assert seen(found) == ("dropped", pointer)
    assert (pointer or "no line of the document") in found.detail


@pytest.mark.parametrize(
    ("source", "destination", "fields", "outcome", "pointer"),
    [
        ("10.1.1.10", "10.1.1.1", {"protocol": "udp", "port": 53}, "delivered", "/dns/guest0"),
        (OUTSIDE, "203.0.113.5", {"protocol": "icmp"}, "delivered", "/firewall/ingress/rules/ping"),
        ("10.1.1.10", OUTSIDE, {"port": 443}, "forwarded", "/firewall/egress/guest0/policy"),
        ("10.1.17.10", OUTSIDE, {"protocol": "udp", "port": 53}, "forwarded",
         "/firewall/egress/guest1/rules/dns"),
        ("fd00:1::50", "2001:db8:9::1", {"port": 443}, "forwarded", "/firewall/egress/guest0/policy"),
        ("fd00:1::50", "2001:db8:9::1", {"protocol": "icmp"}, "forwarded", "/firewall/egress/guest0/policy"),
        ("10.1.1.10", OUTSIDE, {"protocol": 47}, "forwarded", "/firewall/egress/guest0/policy"),
    ],
)  # fmt: skip
def test_what_gets_through(
    ask: Any, source: str, destination: str, fields: Any, outcome: str, pointer: str
) -> None:
    assert seen(ask(source, destination, **fields)) == (outcome, pointer)


def test_nowhere_to_go(ask: Any, running: RouterDocument) -> None:
    run("ip", "route", "add", "unreachable", "198.18.0.0/15")
    try:
        found = ask("10.1.1.10", "198.18.0.1", port=443)
        assert seen(found) == ("unroutable", None)
    finally:
        run("ip", "route", "del", "unreachable", "198.18.0.0/15")


def told(explanation: Explanation, chain: str) -> list[str]:
    return next((stage["pointers"] for stage in explanation.stages if stage["chain"] == chain), [])


@pytest.mark.parametrize(
    ("source", "destination", "fields", "outcome", "pointer"),
    [
        # From tier to tier both lists are asked, and the last one that says something is what decided.
        ("10.2.1.9", "10.2.2.9", {"port": 5432}, "forwarded", "/acls/back/rules/database"),
        ("10.2.1.9", "10.2.2.9", {"port": 5433}, "dropped", "/acls/back/ingress_policy"),
        ("10.2.1.9", "10.2.2.9", {"port": 25}, "dropped", "/acls/front/rules/no-mail"),
        ("10.2.2.9", "10.2.1.9", {"port": 80}, "dropped", "/acls/back/egress_policy"),
        ("10.2.2.9", "10.2.1.9", {"protocol": 47}, "dropped", "/acls/front/ingress_policy"),
        ("2001:db8:9::1", "fd00:2::9", {"protocol": "icmp", "link": "public0"}, "dropped",
         "/firewall/ingress/policy"),
        ("fd00:2::9", "2001:db8:9::1", {"port": 443}, "forwarded", "/acls/front/egress_policy"),
        ("fd00:2::9", "2001:db8:9::1", {"port": 25}, "dropped", "/acls/front/rules/no-mail"),
        # By the private gateway, which has a list of its own, and by a static route.
        ("10.2.1.9", "172.20.1.9", {"port": 443}, "dropped", "/acls/back/egress_policy"),
        ("10.2.1.9", "172.20.9.9", {"port": 443}, "dropped", "/acls/front/rules/branch-only"),
        ("172.20.1.9", "10.2.1.9", {"port": 5432}, "dropped", "/acls/back/ingress_policy"),
        # WireGuard's peers, who reach this and not that; and who reaches them.
        ("10.99.0.2", "10.1.1.9", {"port": 80}, "forwarded", "/wireguard/vpn0/peers/alice"),
        ("fd00:99::2", "fd00:1::9", {"port": 80}, "forwarded", "/wireguard/vpn0/peers/alice"),
        ("10.99.0.2", "10.2.1.9", {"port": 80}, "dropped", "/wireguard/vpn0/reach"),
        ("10.50.0.9", "10.1.17.9", {"port": 80}, "dropped", "/wireguard/vpn0/peers/office/reach"),
        ("10.50.0.9", "10.99.0.2", {"port": 80}, "forwarded", "/wireguard/vpn0/peers/office"),
        ("10.1.1.9", "10.99.0.2", {"port": 80}, "forwarded", "/wireguard/vpn0/peers/alice"),
        ("10.1.17.9", "10.50.0.9", {"port": 80}, "dropped", "/wireguard/vpn0/peers/office/reach"),
        ("10.99.0.2", OUTSIDE, {"port": 80}, "forwarded", "/wireguard/vpn0/source_nat"),
        ("10.99.0.2", "10.1.1.1", {"port": 80}, "dropped", None),
        ("10.99.0.2", "10.1.1.9", {"port": 80, "link": "public0"}, "dropped", "/wireguard/vpn0/peers/alice"),
        # IPsec's tunnels and users.
        ("192.168.5.9", "10.1.1.9", {"port": 80}, "forwarded", "/ipsec/office/remote_subnets/0"),
        ("10.1.1.9", "192.168.5.9", {"port": 80}, "forwarded", "/ipsec/office/remote_subnets/0"),
        ("fd00:1::9", "fd00:5::9", {"port": 80}, "forwarded", "/ipsec/office/remote_subnets/1"),
        ("10.1.17.9", "192.168.5.9", {"port": 80}, "dropped", "/ipsec/office/local_subnets"),
        ("192.168.6.9", "10.1.17.9", {"port": 80}, "forwarded", "/ipsec/branch/remote_subnets/0"),
        ("192.168.5.9", "10.1.17.9", {"port": 80, "link": "vpn7"}, "dropped",
         "/ipsec/branch/remote_subnets"),
        ("10.200.0.9", "10.1.1.9", {"port": 80}, "forwarded", "/remote_access/users"),
        ("10.200.0.9", OUTSIDE, {"port": 80}, "forwarded", "/remote_access/full_tunnel"),
        ("10.200.0.9", "10.1.1.1", {"protocol": "udp", "port": 53}, "delivered", "/dns/guest0"),
        # One who reaches another network than the others do, and an address that is nobody's.
        ("10.200.0.8", "10.1.17.9", {"port": 80}, "forwarded", "/remote_access/users"),
        ("10.200.0.8", "10.1.1.9", {"port": 80}, "dropped", "/remote_access/subnets"),
        ("10.200.0.7", "10.1.1.9", {"port": 80}, "dropped", "/remote_access/subnets"),
        # To the router itself.
        (OUTSIDE, "203.0.113.7", {"protocol": "udp", "port": 51820}, "delivered", "/wireguard/vpn0/listen"),
        (OUTSIDE, "203.0.113.7", {"protocol": "udp", "port": 500}, "delivered",
         "/remote_access/ikev2/address"),
        ("2001:db8:9::1", "2001:db8::5", {"protocol": "udp", "port": 51820}, "delivered",
         "/wireguard/vpn0/listen"),
    ],
)  # fmt: skip
def test_inside_and_through_tunnels(
    ask: Any, source: str, destination: str, fields: Any, outcome: str, pointer: str | None
) -> None:
    found = ask(source, destination, **fields)
    assert seen(found) == (outcome, pointer), found.as_json()


def test_the_way_and_the_address_that_it_goes_out_with(ask: Any) -> None:
    for source, destination, link, way, translated in (
        ("10.1.1.9", OUTSIDE, "public0", "/interfaces/public0/gateway", "/source_nat/guest0"),
        ("10.2.1.9", OUTSIDE, "public1", "/interfaces/public1/gateway", "/source_nat/guest2"),
        ("10.1.1.11", OUTSIDE, "public0", "/interfaces/public0/gateway", "/static_nat/203.0.113.6"),
        ("10.99.0.2", OUTSIDE, "public0", "/interfaces/public0/gateway", "/wireguard/vpn0/source_nat/0"),
        ("fd00:99::2", "2001:db8:9::1", "public0", "/interfaces/public0/gateway6",
         "/wireguard/vpn0/source_nat/1"),
        ("10.200.0.9", OUTSIDE, "public0", "/interfaces/public0/gateway", "/remote_access/source_nat"),
    ):  # fmt: skip
        found = ask(source, destination, port=443)
        assert found.link_out == link, found.as_json()
        assert told(found, "route")[0] == way, found.as_json()
        assert told(found, "translate_source") == [translated], found.as_json()
    found = ask("10.2.1.9", "172.20.1.9", port=443)
    assert told(found, "route") == ["/routes/branch"]
    assert told(ask("10.1.1.9", "192.168.5.9", port=80), "route") == ["/ipsec/office/remote_subnets/0"]
    assert told(ask("10.1.1.9", "10.50.3.3", port=80), "route") == [
        "/wireguard/vpn0/peers/office/allowed_ips/1"
    ]


def test_load_balancers(ask: Any) -> None:
    # What the router's own process serves, and what is led on to a server.
    for address, port, name in (("203.0.113.5", 81, "users"), ("10.1.1.1", 5432, "internal")):
        assert seen(ask("10.1.1.9", address, port=port)) == ("delivered", f"/load_balancers/{name}")
    for source, address, fields, pointer in (
        ("10.1.17.9", "203.0.113.5", {"port": 443}, "/load_balancers/shop/source_cidrs"),
        ("fd00:1::9", "2001:db8::5", {"port": 25}, "/load_balancers/mail6/source_cidrs"),
        ("10.1.17.9", "203.0.113.7", {"protocol": "udp", "port": 53}, "/load_balancers/names/source_cidrs"),
    ):
        found = ask(source, address, **fields)
        assert seen(found) == ("dropped", pointer), found.as_json()
        assert pointer in found.detail
    found = ask("fd00:1::9", "2001:db8::5", protocol="udp", port=53)
    assert told(found, "translate_destination") == ["/load_balancers/names6"]
    assert found.leaves is not None and found.leaves.destination == "fd00:1::10"


def test_a_limit(ask: Any) -> None:
    """The third in a second; of a network whose guests may begin two."""
    run("nft", "insert", "rule", "inet", "sysvm_limits", "guests", "iifname", "guest1",
        "limit", "rate", "over", "1/hour", "burst", "1", "packets", "drop")  # fmt: skip
    try:
        found = [ask("10.1.17.10", OUTSIDE, protocol="udp", port=53) for _ in range(3)]
        assert found[0].outcome == "forwarded"
        assert seen(found[-1]) == ("dropped", "/limits/usual/new_connections_per_second")
    finally:
        listing = run("nft", "-a", "list", "chain", "inet", "sysvm_limits", "guests").splitlines()
        handle = next(line.split()[-1] for line in listing if "1/hour" in line)
        run("nft", "delete", "rule", "inet", "sysvm_limits", "guests", "handle", handle)


def test_nobody_meets_a_probe(ask: Any, running: RouterDocument) -> None:
    """No packet of it, or in answer to it, is on any wire; nothing of it is tracked; no rule stays."""
    before = [each.identity for each in conntrack.connections()]
    wires = []
    for link in LINKS:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        wire.bind((f"far-{link}", 0x0003))
        wires.append(wire)
    with socket.create_server(("10.1.1.1", 80)) as door:
        door.settimeout(0)
        run("nft", "insert", "rule", "inet", "sysvm", "input", "tcp", "dport", "443", "accept")
        try:
            ask("10.1.1.10", "10.1.1.1", port=80)
            # Nobody listens: the kernel would reset it.
            ask("10.1.1.10", "10.1.1.1", port=443)
        finally:
            listing = run("nft", "-a", "list", "chain", "inet", "sysvm", "input").splitlines()
            handle = next(line.split()[-1] for line in listing if "dport 443 accept" in line)
            run("nft", "delete", "rule", "inet", "sysvm", "input", "handle", handle)
        ask("10.1.1.10", OUTSIDE, port=443)
        ask(OUTSIDE, "203.0.113.5", port=8080)
        with pytest.raises(BlockingIOError):
            door.accept()
    frames = [wire.recv(2000) for wire in wires for _ in range(100) if select.select([wire], [], [], 0)[0]]
    addresses = [socket.inet_aton(text) for text in ("10.1.1.10", OUTSIDE)]
    assert not [frame for frame in frames if any(address in frame for address in addresses)]
    assert [each.identity for each in conntrack.connections()] == before
    assert "explain" not in run("nft", "list", "tables") + run("ip", "link", "show")
    for wire in wires:
        wire.close()


def test_questions_without_an_answer(ask: Any) -> None:
    for source, fields, words in (
        ("203.0.113.5", {}, "the router's own"),
        ("10.1.1.10", {"link": "guest9"}, "no link guest9"),
        ("127.0.0.1", {}, "the router's own"),
    ):
        with pytest.raises(QuestionError, match=words):
            ask(source, OUTSIDE, port=80, **fields)
