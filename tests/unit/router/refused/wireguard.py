"""What is wrong with a tunnel, each with where and what is said of it."""

from typing import Any

from appliance.curve25519 import public_key
from tests.examples import example
from tests.unit.router.refused import Case

OTHER_KEY = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
TUNNEL = example("everything")["wireguard"]["vpn0"]
EMPTY = {**TUNNEL, "peers": {}}


def tunnel(**fields: Any) -> dict[str, Any]:
    return {"wireguard": {"vpn0": fields}}


def peer(name: str = "new", **fields: Any) -> dict[str, Any]:
    return tunnel(peers={name: {"public_key": OTHER_KEY, "allowed_ips": ["10.99.0.9/32"], **fields}})


CASES: list[Case] = [
    ({"wireguard": {"tun0": EMPTY, "vpn0": None}}, "/wireguard/tun0", "are called vpn0, vpn1, ..."),
    (
        {"wireguard": {"vpn1": {**EMPTY, "addresses": ["10.98.0.1/24"], "private_key": OTHER_KEY}}},
        "/wireguard/vpn1/listen/port",
        "vpn0 has UDP port 51820 already",
    ),
    (
        {
            "wireguard": {
                "vpn1": {
                    **TUNNEL,
                    "peers": {},
                    "addresses": ["10.98.0.1/24"],
                    "listen": {"addresses": ["203.0.113.7"], "port": 51821},
                }
            }
        },
        "/wireguard/vpn1/private_key",
        "vpn0 has this key, too",
    ),
    (
        {
            "wireguard": {
                "vpn1": {
                    **TUNNEL,
                    "peers": {},
                    "addresses": ["10.99.0.129/25"],
                    "listen": {"addresses": ["203.0.113.7"], "port": 51821},
                    "private_key": OTHER_KEY,
                }
            }
        },
        "/wireguard/vpn1/addresses/0",
        "The pool of vpn1: 10.99.0.128/25 overlaps 10.99.0.0/24 of the pool of vpn0",
    ),
    (
        tunnel(listen={"addresses": ["192.0.2.1"]}),
        "/wireguard/vpn0/listen/addresses/0",
        "no address of a public interface",
    ),
    (
        tunnel(listen={"addresses": ["203.0.113.6"]}),
        "/wireguard/vpn0/listen/addresses/0",
        "static NAT of 203.0.113.6 takes all",
    ),
    (tunnel(listen={"port": 53}), "/wireguard/vpn0/listen/port", "UDP port 53 is for DNS"),
    (
        tunnel(listen={"addresses": ["203.0.113.5"], "port": 27001}),
        "/wireguard/vpn0/listen/port",
        "port forward game takes UDP port 27001",
    ),
    (
        tunnel(mtu=1441, listen={"addresses": ["203.0.113.7"]}),
        "/wireguard/vpn0/mtu",
        "doesn't fit into public0 by 203.0.113.7; 1440",
    ),
    (
        tunnel(mtu=1421, listen={"addresses": ["2001:db8::5"]}),
        "/wireguard/vpn0/mtu",
        "doesn't fit into public0 by 2001:db8::5; 1420 does",
    ),
    (tunnel(mtu=1279), "/wireguard/vpn0/mtu", "IPv6 needs an MTU of 1280"),
    (tunnel(reach=["public0"]), "/wireguard/vpn0/reach/0", "public0 is neither a guest interface"),
    (peer(reach=["guest0", "vpn7"]), "/wireguard/vpn0/peers/new/reach/1", "vpn7 is neither"),
    (tunnel(source_nat=["192.0.2.1"]), "/wireguard/vpn0/source_nat/0", "no address of a public"),
    (tunnel(source_nat=["203.0.113.6"]), "/wireguard/vpn0/source_nat/0", "free for source NAT"),
    (
        tunnel(source_nat=["203.0.113.5", "203.0.113.7"]),
        "/wireguard/vpn0/source_nat/1",
        "one address of this family already",
    ),
    (
        peer(public_key=TUNNEL["peers"]["alice"]["public_key"]),
        "/wireguard/vpn0/peers/new/public_key",
        "alice of vpn0 has this key, too",
    ),
    (
        peer(public_key=public_key(TUNNEL["private_key"])),
        "/wireguard/vpn0/peers/new/public_key",
        "the tunnel's own key",
    ),
    (
        {"dns": None, **tunnel(resolvers=[])},
        "/wireguard/vpn0/peers/office/endpoint",
        "nobody can look vpn.office.example:51820 up",
    ),
    (
        peer(allowed_ips=["10.99.0.9/32", "10.99.0.2/32"]),
        "/wireguard/vpn0/peers/new/allowed_ips/1",
        "Peer new of vpn0: 10.99.0.2/32 overlaps 10.99.0.2/32 of peer alice of vpn0",
    ),
    (
        peer(allowed_ips=["fd00:50:0:7::/64"]),
        "/wireguard/vpn0/peers/new/allowed_ips/0",
        "overlaps fd00:50::/48 of peer office of vpn0",
    ),
    (
        peer(allowed_ips=["0.0.0.0/0"]),
        "/wireguard/vpn0/peers/new/allowed_ips/0",
        "the default route is an interface's gateway",
    ),
    (
        peer(allowed_ips=["10.99.0.1/32"]),
        "/wireguard/vpn0/peers/new/allowed_ips/0",
        "has the router's own address in it",
    ),
    (
        peer(allowed_ips=["10.1.1.128/25"]),
        "/wireguard/vpn0/peers/new/allowed_ips/0",
        "overlaps 10.1.1.0/24 of the network of guest0",
    ),
    (
        peer(allowed_ips=["203.0.113.77/32"]),
        "/wireguard/vpn0/peers/new/allowed_ips/0",
        "overlaps 203.0.113.0/24 of the network of public0",
    ),
    (
        peer(allowed_ips=["10.9.0.0/16"]),
        "/wireguard/vpn0/peers/new/allowed_ips/0",
        "10.9.0.0/16 overlaps 10.9.0.0/16 of route lab",
    ),
    (
        {
            "wireguard": {
                "vpn0": {
                    "addresses": ["10.99.0.1/24", "fd00:1::77/64"],
                    "peers": {"alice": {"allowed_ips": ["10.99.0.2/32"]}},
                }
            }
        },
        "/wireguard/vpn0/addresses/1",
        "The pool of vpn0: fd00:1::/64 overlaps fd00:1::/64 of the network of guest0",
    ),
]
