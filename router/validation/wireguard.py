"""WireGuard tunnels: whose keys, addresses and ports are whose."""

import ipaddress
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from appliance.address import port_range
from appliance.curve25519 import public_key
from appliance.memo import per_item
from appliance.model import Problem, pointer
from appliance.resources import is_named
from router.document import RouterDocument, WireGuard, WireGuardPeer
from router.network import VPN, guest_networks, public_links
from router.wireguard import behind, pools, upstreams

_OUTER = {4: 60, 6: 80}
"""Bytes around a packet in the tunnel: IP, UDP, and WireGuard's own 32."""
_LEAST_IPV6 = 1280
_SECTION = "/wireguard/"
_OWN_PORTS = {53: "DNS", 67: "DHCP", 68: "DHCP", 123: "NTP", 546: "DHCPv6", 547: "DHCPv6"}


def problems(document: RouterDocument) -> Iterator[Problem]:
    known = upstreams(document)
    ports: dict[int, str] = {}
    keys: dict[str, str] = {}
    own = {
        link: public_key(item.private_key.get_secret_value()) for link, item in document.wireguard.items()
    }
    for link, section in document.wireguard.items():
        at = ("wireguard", link)
        if not link.startswith(VPN):
            yield Problem(pointer(*at), f"Tunnel {link}: tunnels are called vpn0, vpn1, ...")
        if other := ports.get(section.listen.port):
            yield Problem(
                pointer(*at, "listen", "port"),
                f"Tunnel {link}: {other} has UDP port {section.listen.port} already, on all addresses",
            )
        ports[section.listen.port] = link
        yield from _listen(document, link, section)
        yield from _mtu(document, link, section)
        yield from _links(document, link, section)
        for name, peer in section.peers.items():
            place = (*at, "peers", name)
            if other := keys.get(peer.public_key):
                yield Problem(
                    pointer(*place, "public_key"), f"Peer {name} of {link}: {other} has this key, too"
                )
            keys[peer.public_key] = f"{name} of {link}"
            if peer.public_key == own[link]:
                yield Problem(
                    pointer(*place, "public_key"), f"Peer {name} of {link}: it is the tunnel's own key"
                )
            if peer.endpoint and is_named(peer.endpoint) and not (section.resolvers or known):
                yield Problem(
                    pointer(*place, "endpoint"),
                    f"Peer {name} of {link}: nobody can look {peer.endpoint} up; name resolvers",
                )
    yield from _keys_of_others(document, own)
    yield from _overlaps(document)


def _keys_of_others(document: RouterDocument, own: dict[str, str]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for link, key in own.items():
        if other := seen.get(key):
            yield Problem(
                pointer("wireguard", link, "private_key"), f"Tunnel {link}: {other} has this key, too"
            )
        seen[key] = link


def _listen(document: RouterDocument, link: str, section: WireGuard) -> Iterator[Problem]:
    at, port = ("wireguard", link, "listen"), section.listen.port
    if port in _OWN_PORTS:
        yield Problem(pointer(*at, "port"), f"Tunnel {link}: UDP port {port} is for {_OWN_PORTS[port]}")
    for number, address in enumerate(section.listen.addresses):
        place = pointer(*at, "addresses", number)
        if address in section.listen.addresses[:number]:
            yield Problem(place, f"Tunnel {link}: {address} is said already")
        elif _outer_link(document, address) is None:
            yield Problem(place, f"Tunnel {link}: {address} is no address of a public interface")
        elif address in document.static_nat:
            yield Problem(place, f"Tunnel {link}: static NAT of {address} takes all that comes to it")
    for name, forward in document.port_forwards.items():
        first, last = port_range(forward.ports)
        taken = forward.protocol == "udp" and forward.address in section.listen.addresses
        if taken and first <= port <= last:
            what = f"port forward {name} takes UDP port {port} of {forward.address}"
            yield Problem(pointer(*at, "port"), f"Tunnel {link}: {what}")


def _mtu(document: RouterDocument, link: str, section: WireGuard) -> Iterator[Problem]:
    at = pointer("wireguard", link, "mtu")
    for address in section.listen.addresses:
        outer = _outer_link(document, address)
        most = document.interfaces[outer].mtu - _OUTER[6 if ":" in address else 4] if outer else section.mtu
        if section.mtu > most:
            what = f"an MTU of {section.mtu} doesn't fit into {outer} by {address}; {most} does"
            yield Problem(at, f"Tunnel {link}: {what}")
            break
    if section.mtu < _LEAST_IPV6 and any(":" in address for address in section.addresses):
        yield Problem(at, f"Tunnel {link}: IPv6 needs an MTU of {_LEAST_IPV6} (RFC 8200, section 5)")


def _outer_link(document: RouterDocument, address: str) -> str | None:
    for link in public_links(document):
        if any(own.partition("/")[0] == address for own in document.interfaces[link].addresses):
            return link
    return None


def _links(document: RouterDocument, link: str, section: WireGuard) -> Iterator[Problem]:
    at = ("wireguard", link)
    known = {network.link for network in guest_networks(document)} | document.wireguard.keys()
    lists = {(): section.reach or []} | {
        ("peers", name): peer.reach for name, peer in section.peers.items() if peer.reach
    }
    for place, reach in lists.items():
        for number, other in enumerate(reach):
            if other not in known:
                yield Problem(
                    pointer(*at, *place, "reach", number),
                    f"Tunnel {link}: {other} is neither a guest interface with an IPv4 address nor a tunnel",
                )
    families: set[bool] = set()
    for number, address in enumerate(section.source_nat):
        if _outer_link(document, address) is None or address in document.static_nat:
            yield Problem(
                pointer(*at, "source_nat", number),
                f"Tunnel {link}: {address} is no address of a public interface that is free for source NAT",
            )
        if (":" in address) in families:
            yield Problem(
                pointer(*at, "source_nat", number),
                f"Tunnel {link}: there is one address of this family already",
            )
        families.add(":" in address)


Span = tuple[int, int, int]
"""Version, first and last address."""
Owned = tuple[Span, str, str, str]
"""A span, where it is said, whose it is in words, and the network as it is written."""


def _overlaps(document: RouterDocument) -> Iterator[Problem]:
    """Of peers with one another, and of them and the pools with the networks that are here."""
    peers: list[Owned] = []
    routed: list[Owned] = []
    here = list(_here(document))
    for link, section in document.wireguard.items():
        for number, pool in enumerate(pools(section)):
            at = pointer("wireguard", link, "addresses", number)
            here.append((_span(str(pool)), at, f"the pool of {link}", str(pool)))
        away = set(behind(section))
        own = [address.partition("/")[0] for address in section.addresses]
        for name, peer in section.peers.items():
            who = f"peer {name} of {link}"
            for number, (network, span) in enumerate(zip(peer.allowed_ips, _spans(peer), strict=True)):
                at = pointer("wireguard", link, "peers", name, "allowed_ips", number)
                if network.endswith("/0"):
                    yield Problem(at, f"{_begun(who)}: the default route is an interface's gateway")
                    continue
                peers.append((span, at, who, network))
                if network in away:
                    routed.append((span, at, who, network))
                elif any(_holds(span, address) for address in own):
                    yield Problem(at, f"{_begun(who)}: {network} has the router's own address in it")
    yield from _meeting(peers)
    both = {at for _, at, _, _ in routed}
    yield from _meeting([*routed, *here], among=both)


def _begun(words: str) -> str:
    return words[0].upper() + words[1:]


def _here(document: RouterDocument) -> Iterator[Owned]:
    """The networks of interfaces."""
    for link, interface in document.interfaces.items():
        for number, address in enumerate(interface.addresses):
            network = str(ipaddress.ip_interface(address).network)
            yield (
                _span(network),
                pointer("interfaces", link, "addresses", number),
                f"the network of {link}",
                network,
            )


def _meeting(owned: list[Owned], *, among: AbstractSet[str] = frozenset()) -> Iterator[Problem]:
    """Those that overlap one that begins before. Interfaces are judged elsewhere, and so are those whose
    places are both `among` these."""
    last: Owned | None = None
    for item in sorted(owned):
        if last is not None and item[0][0] == last[0][0] and item[0][1] <= last[0][2]:
            one, other = (item, last) if item[1].startswith(_SECTION) else (last, item)
            if one[1].startswith(_SECTION) and not (one[1] in among and other[1] in among):
                yield Problem(one[1], f"{_begun(one[2])}: {one[3]} overlaps {other[3]} of {other[2]}")
        if last is None or item[0][0] != last[0][0] or item[0][2] > last[0][2]:
            last = item


@per_item
def _spans(peer: WireGuardPeer) -> tuple[Span, ...]:
    return tuple(map(_span, peer.allowed_ips))


def _span(network: str) -> Span:
    parsed = ipaddress.ip_network(network)
    return parsed.version, int(parsed.network_address), int(parsed.broadcast_address)


def _holds(span: Span, address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip.version == span[0] and span[1] <= int(ip) <= span[2]
