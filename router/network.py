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
class Subnet:
    address: str
    """The router's own address on it: the guests' gateway, DHCP, DNS and metadata server."""
    cidr: str
    prefix_length: int
    netmask: str

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


@dataclass(frozen=True)
class GuestNetwork(Subnet):
    """A link to guests. What it is as a subnet is its first of IPv4."""

    link: str
    mtu: int
    addresses6: tuple[str, ...] = ()
    """The router's own of IPv6."""
    cidrs6: tuple[str, ...] = ()
    further: tuple[Subnet, ...] = ()
    """Other subnets on the same link."""

    @cached_property
    def subnets(self) -> tuple[Subnet, ...]:
        return (Subnet(self.address, self.cidr, self.prefix_length, self.netmask), *self.further)

    @cached_property
    def cidrs(self) -> tuple[str, ...]:
        """Of IPv4."""
        return (self.cidr, *(subnet.cidr for subnet in self.further))

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """The router's own of IPv4, one for each subnet."""
        return (self.address, *(subnet.address for subnet in self.further))

    def subnet(self, address: str) -> Subnet | None:
        """The one that an address is in."""
        return next((subnet for subnet in self.subnets if subnet.holds(address)), None)

    def holds(self, address: str) -> bool:
        return self.subnet(address) is not None

    def serves(self, address: str) -> bool:
        subnet = self.subnet(address)
        return subnet is not None and subnet.serves(address)


def guest_networks(document: RouterDocument) -> Iterator[GuestNetwork]:
    """One for each guest interface with an IPv4 address, by name."""
    for link, interface in sorted(document.interfaces.items()):
        network = _guest_network(interface, link)
        if network is not None:
            yield network


@per_item
def _guest_network(interface: Interface, link: str) -> GuestNetwork | None:
    subnets = list(_subnets(interface)) if link.startswith(GUEST) else []
    if not subnets:
        return None
    first, *further = subnets
    six = [text for text in interface.addresses if ":" in text]
    return GuestNetwork(
        link=link,
        address=first.address,
        cidr=first.cidr,
        prefix_length=first.prefix_length,
        netmask=first.netmask,
        mtu=interface.mtu,
        addresses6=tuple(text.partition("/")[0] for text in six),
        cidrs6=tuple(str(ipaddress.IPv6Interface(text).network) for text in six),
        further=tuple(further),
    )


def _subnets(interface: Interface) -> Iterator[Subnet]:
    """One for each network of IPv4. An address within one that is there already is but a further address."""
    met: list[ipaddress.IPv4Network] = []
    for text in interface.addresses:
        if ":" in text:
            continue
        parsed = ipaddress.IPv4Interface(text)
        if not any(parsed.network.subnet_of(network) for network in met):
            met.append(parsed.network)
            length, netmask = parsed.network.prefixlen, str(parsed.netmask)
            yield Subnet(str(parsed.ip), str(parsed.network), length, netmask)


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
            yield from network.cidrs
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
