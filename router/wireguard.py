"""WireGuard tunnels: their interfaces, the way to what is behind their peers, and what peers may reach.

A packet from a peer comes from an address that is the peer's, or WireGuard drops it (cryptokey routing); so
the firewall goes by addresses. Nobody outside of a tunnel may send from one of them.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.checks import Check, WireGuardCheck
from appliance.memo import per_item, per_sections
from appliance.resources import Address, Resource
from appliance.resources import WireGuard as Tunnel
from appliance.resources import WireGuardPeer as TunnelPeer
from appliance.route import Route
from router.document import RouterDocument, WireGuard, WireGuardPeer
from router.elements import PROTOCOLS, Elements
from router.listening import Listener
from router.network import guest_networks

_FAMILIES = (4, 6)


def resources(document: RouterDocument) -> Iterator[Resource]:
    yield from _resources(document)


@per_sections("wireguard", "dns")
def _resources(document: RouterDocument) -> tuple[Resource, ...]:
    return tuple(_made(document))


def _made(document: RouterDocument) -> Iterator[Resource]:
    known = upstreams(document)
    for link, section in document.wireguard.items():
        yield Tunnel(
            link=link,
            private_key=section.private_key.get_secret_value(),
            listen_port=section.listen.port,
            mtu=section.mtu,
            resolvers=tuple(section.resolvers) or known,
            peers=tuple(_peer(peer, name) for name, peer in section.peers.items()),
        )
        for address in section.addresses:
            yield Address(link=link, address=address)
        for network in behind(section):
            yield Route(destination=network, link=link)


@per_item
def _peer(peer: WireGuardPeer, name: str) -> TunnelPeer:
    return TunnelPeer(
        name=name,
        public_key=peer.public_key,
        preshared_key=peer.preshared_key.get_secret_value() if peer.preshared_key else "",
        allowed_ips=frozenset(peer.allowed_ips),
        endpoint=peer.endpoint or "",
        persistent_keepalive=peer.persistent_keepalive or 0,
    )


def upstreams(document: RouterDocument) -> tuple[str, ...]:
    """Where guests' names are asked for, which know a peer's, too."""
    found = (f"{item.address}#{item.port}" for names in document.dns.values() for item in names.upstreams)
    return tuple(dict.fromkeys(found))


IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def pools(section: WireGuard) -> list[IpNetwork]:
    """The networks that a tunnel's own addresses are in."""
    return [ipaddress.ip_interface(address).network for address in section.addresses]


def behind(section: WireGuard) -> Iterator[str]:
    """Networks behind peers that the tunnel's own addresses bring no route to."""
    own = pools(section)
    for peer in section.peers.values():
        for network, parsed in zip(peer.allowed_ips, _networks(peer), strict=True):
            if not any(parsed.version == pool.version and parsed.subnet_of(pool) for pool in own):  # type: ignore[arg-type]
                yield network


@per_item
def _networks(peer: WireGuardPeer) -> tuple[IpNetwork, ...]:
    return tuple(map(ipaddress.ip_network, peer.allowed_ips))


def reach(document: RouterDocument, section: WireGuard, peer: WireGuardPeer | None = None) -> list[str]:
    """The links that a peer, or one that doesn't say it, may open connections to."""
    if peer is not None and peer.reach is not None:
        return peer.reach
    if section.reach is not None:
        return section.reach
    return [network.link for network in guest_networks(document)]


def listeners(document: RouterDocument) -> Iterator[Listener]:
    for link, section in document.wireguard.items():
        port, at = section.listen.port, ("wireguard", link, "listen")
        for address in section.listen.addresses:
            yield Listener(address, PROTOCOLS["udp"], (port, port), open=True, at=at)


@dataclass(frozen=True, slots=True)
class TunnelRules:
    """What of a tunnel is in the ruleset's structure."""

    link: str
    port: int
    own4: str | None
    """The address of that family it is to send from, if any."""
    own6: str | None
    out4: bool
    """Whether its peers go out to the internet by that family."""
    out6: bool


def rules(document: RouterDocument) -> list[TunnelRules]:
    return [
        TunnelRules(
            link=link,
            port=section.listen.port,
            own4=next((address for address in section.listen.addresses if ":" not in address), None),
            own6=next((address for address in section.listen.addresses if ":" in address), None),
            out4=any(":" not in address for address in section.source_nat),
            out6=any(":" in address for address in section.source_nat),
        )
        for link, section in sorted(document.wireguard.items())
    ]


def reachable(document: RouterDocument) -> list[str]:
    """The links that peers may reach, each with a pair of sets."""
    if not document.wireguard:
        return []
    return [*(network.link for network in guest_networks(document)), *sorted(document.wireguard)]


@per_sections("interfaces", "wireguard")
def elements(document: RouterDocument) -> Elements:
    """`peers4` and `peers6` are all addresses behind tunnels, `reach_LINK_4` and `_6` those of peers that
    may reach a link, `peers_source_nat4` and `6` lead from them to public addresses."""
    if not document.wireguard:
        return {}
    found: Elements = {
        f"{name}{family}": {} for name in ("peers", "peers_source_nat") for family in _FAMILIES
    }
    found |= {f"reach_{link}_{family}": {} for link in reachable(document) for family in _FAMILIES}
    for section in document.wireguard.values():
        for network in (*map(str, pools(section)), *behind(section)):
            found[f"peers{_family(network)}"][element(network)] = None
        out = {_family(address): address for address in section.source_nat}
        for peer in section.peers.values():
            links = reach(document, section, peer)
            for network in peer.allowed_ips:
                family, key = _family(network), element(network)
                for link in links:
                    found[f"reach_{link}_{family}"][key] = None
                if family in out:
                    found[f"peers_source_nat{family}"][key] = out[family]
    return found


def element(network: str) -> str:
    """A CIDR as nft lists it: a single address without its length."""
    address, _, length = network.partition("/")
    return address if length == ("128" if ":" in address else "32") else network


def _family(text: str) -> int:
    return 6 if ":" in text else 4


def checks(document: RouterDocument) -> Iterator[Check]:
    for link, section in document.wireguard.items():
        yield WireGuardCheck(name=f"wireguard {link}", link=link, port=section.listen.port)
