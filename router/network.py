"""The router's networks as its services see them: guest networks and public links of a document."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from appliance.address import ipv4_int
from appliance.document import Interface
from appliance.memo import per_item
from router.document import RouterDocument

GUEST = "guest"
PUBLIC = "public"
PRIVATE = "private"
"""Private gateways: a way out to a network that isn't public."""
SYNC = "sync"
"""Between the two routers of a redundant pair."""
VPN = "vpn"
"""Tunnels, which have no card."""


@dataclass(frozen=True)
class GuestNetwork:
    link: str
    address: str
    """The router's own address on it: the guests' gateway, DHCP, DNS and metadata server."""
    cidr: str
    prefix_length: int
    netmask: str
    mtu: int
    addresses6: tuple[str, ...] = ()
    """The router's own of IPv6."""
    cidrs6: tuple[str, ...] = ()

    def holds(self, address: str) -> bool:
        first, last = self.span
        return first <= ipv4_int(address) <= last

    def serves(self, address: str) -> bool:
        """Whether a guest can have this address: not the network's first and last, not the router's."""
        first, last = self.span
        return first < ipv4_int(address) < last and address != self.address

    @cached_property
    def span(self) -> tuple[int, int]:
        first = ipv4_int(self.cidr.partition("/")[0])
        return first, first + (1 << (32 - self.prefix_length)) - 1


def guest_networks(document: RouterDocument) -> Iterator[GuestNetwork]:
    """One for each guest interface with an IPv4 address (its first), by name."""
    for link, interface in sorted(document.interfaces.items()):
        network = _guest_network(interface, link)
        if network is not None:
            yield network


@per_item
def _guest_network(interface: Interface, link: str) -> GuestNetwork | None:
    own = next((text for text in interface.addresses if ":" not in text), None)
    if own is None or not link.startswith(GUEST):
        return None
    parsed = ipaddress.IPv4Interface(own)
    six = [text for text in interface.addresses if ":" in text]
    return GuestNetwork(
        link=link,
        address=str(parsed.ip),
        cidr=str(parsed.network),
        prefix_length=parsed.network.prefixlen,
        netmask=str(parsed.netmask),
        mtu=interface.mtu,
        addresses6=tuple(text.partition("/")[0] for text in six),
        cidrs6=tuple(str(ipaddress.IPv6Interface(text).network) for text in six),
    )


def routed_links(document: RouterDocument) -> frozenset[str]:
    """Guest networks without source NAT: they are reached by their own addresses of IPv4, too."""
    return frozenset(
        network.link for network in guest_networks(document) if network.link not in document.source_nat
    )


def routed_networks(document: RouterDocument) -> Iterator[str]:
    """What of guest networks is reached from outside by its own addresses."""
    links = routed_links(document)
    for network in guest_networks(document):
        if network.link in links:
            yield network.cidr
        yield from network.cidrs6


def public_links(document: RouterDocument) -> list[str]:
    return sorted(link for link in document.interfaces if link.startswith(PUBLIC))


def private_links(document: RouterDocument) -> list[str]:
    return sorted(link for link in document.interfaces if link.startswith(PRIVATE))


def public_addresses(document: RouterDocument) -> list[str]:
    """IPv4 addresses of the public interfaces, without their prefix lengths."""
    return [address for address in _public_addresses(document) if ":" not in address]


def public_addresses6(document: RouterDocument) -> list[str]:
    """The same of IPv6."""
    return [address for address in _public_addresses(document) if ":" in address]


def _public_addresses(document: RouterDocument) -> Iterator[str]:
    for link in public_links(document):
        for address in document.interfaces[link].addresses:
            yield address.partition("/")[0]
