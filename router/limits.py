"""Limits as elements of nft maps: a packet meets a fixed number of lookups, however many guests have one.

Rates are queues where packets can wait (`router.shaping`), and policers everywhere else: named limit
objects that maps lead to. Whoever has one isn't let onto the kernel's fast path, where no chain would see
his packets. Connections are counted in sets that packets fill, one for each number that the document gives:
those sets are the structure's, and of such numbers there are few.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from appliance.memo import per_sections
from appliance.resources import Limit as Policer
from appliance.resources import Resource, Ruleset, Sysctl
from appliance.template import render
from router import shaping
from router.document import Limit, RouterDocument
from router.document.limits import Rate, Usual
from router.elements import Elements
from router.guests import is_address, limited
from router.network import guest_networks

TABLE = "sysvm_limits"
DIRECTIONS = ("sent", "received")
RATES = [
    *(f"{kind}_{direction}{version}" for kind in ("guest", "address") for direction in DIRECTIONS
      for version in (4, 6)),
    *(f"network_{direction}" for direction in DIRECTIONS),
]  # fmt: skip
CLASSES = ["class_mac", "class4", "class6", "address_class4", "address_class6"]
KEPT_OUT = ["limited4", "limited6"]
"""Of the filter's table: whose connections don't take the fast path."""
_TRACKED = 65_536
"""Connections that there is room for, 320 bytes each; the kernel's own idea of it is too small where there
is little memory. A container has its host's."""

_UNUSUAL = Usual(connections=None, new_connections_per_second=None)
"""Of public addresses."""


@dataclass(frozen=True, slots=True)
class Class:
    """What limits of connections have in common: two numbers, and a chain for them."""

    of: str
    connections: int | None
    new: int | None

    @property
    def name(self) -> str:
        return f"{self.of}_{self.connections or 'any'}_{self.new or 'any'}"


@dataclass
class _Made:
    elements: Elements = field(default_factory=lambda: {name: {} for name in (*RATES, *CLASSES)})
    policers: dict[str, Policer] = field(default_factory=dict)
    classes: set[Class] = field(default_factory=set)
    origins: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By set and element: the keys of the document that lead to the limit."""


def resources(document: RouterDocument) -> Iterator[Resource]:
    yield from _resources(document)


@per_sections("interfaces", "dhcp", "metadata", "limits")
def _resources(document: RouterDocument) -> tuple[Resource, ...]:
    return tuple(_all(document))


def _all(document: RouterDocument) -> Iterator[Resource]:
    networks = [network.link for network in guest_networks(document)]
    if not networks:
        return
    made = _made(document)
    classes = sorted(made.classes, key=lambda each: each.name)
    text = render(
        "nftables/limits.nft.j2",
        rates=RATES,
        queue_classes=shaping.CLASSES,
        counted=_counted(document.limits.usual.connections, classes),
        metered=_metered(document.limits.usual, classes),
        usual=document.limits.usual,
        policed={name.partition("_")[0] for name in RATES if made.elements[name]},
        networks={
            link: document.limits.networks[link] for link in networks if link in document.limits.networks
        },
        classes=classes,
    )
    elements = {**made.elements, **shaping.elements(document)}
    yield Ruleset(table=TABLE, text=text, elements=elements, limits=made.policers)
    yield from shaping.resources(document)
    yield Sysctl(name="net/netfilter/nf_conntrack_max", value=str(_TRACKED))


def _counted(usual: int | None, classes: list[Class]) -> Iterator[tuple[str, str]]:
    """Names and key types of the sets that count connections."""
    if usual:
        yield "usual_connections", "ether_addr"
    for each in classes:
        if each.connections:
            yield from ((f"{each.name}_connections{suffix}", kind) for kind, suffix in _keys(each))


def _metered(usual: Usual, classes: list[Class]) -> Iterator[tuple[str, str]]:
    """Of those that measure how often."""
    own = {
        "usual_new": usual.new_connections_per_second,
        "dhcp_packets": usual.dhcp_packets_per_second,
        "dns_packets": usual.dns_packets_per_second,
    }
    yield from ((name, "ether_addr") for name, number in own.items() if number)
    for each in classes:
        if each.new:
            yield from ((f"{each.name}_new{suffix}", kind) for kind, suffix in _keys(each))


def _keys(each: Class) -> list[tuple[str, str]]:
    return [("ether_addr", "")] if each.of == "guests" else [("ipv4_addr", "4"), ("ipv6_addr", "6")]


def origins(document: RouterDocument) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Which limit made an element, by set and element: its place in the document, part by part."""
    return _made(document).origins


@per_sections("interfaces", "dhcp", "metadata", "limits")
def _made(document: RouterDocument) -> _Made:
    made = _Made()
    addresses = limited(document)
    for key, limit in document.limits.guests.items():
        for direction in DIRECTIONS:
            for address in addresses[key]:
                _police(
                    made, limit, "guests", key, direction, f"guest_{direction}{_version(address)}", address
                )
        place = f"class{_version(key)}" if is_address(key) else "class_mac"
        _classify(made, limit, "guests", key, place, document.limits.usual)
    for link, limit in document.limits.networks.items():
        for direction in DIRECTIONS:
            _police(made, limit, "networks", link, direction, f"network_{direction}", link)
    for address, limit in document.limits.addresses.items():
        version = _version(address)
        for direction in DIRECTIONS:
            _police(made, limit, "addresses", address, direction, f"address_{direction}{version}", address)
        _classify(made, limit, "addresses", address, f"address_class{version}", _UNUSUAL)
    return made


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _police(
    made: _Made, limit: Limit, section: str, key: str, direction: str, place: str, element: str
) -> None:
    rate: Rate | None = getattr(limit, direction)
    if rate is None:
        return
    # nft's names have no colons.
    name = f"{section}_{key.replace(':', '_')}_{direction}"
    made.policers[name] = Policer(rate=rate.rate // 8, burst=rate.burst)
    made.elements[place][element] = name
    made.origins[place, element] = ("limits", section, key, direction)


def _classify(made: _Made, limit: Limit, section: str, key: str, place: str, usual: Usual) -> None:
    if limit.connections is None and limit.new_connections_per_second is None:
        return
    found = Class(
        section,
        limit.connections or usual.connections,
        limit.new_connections_per_second or usual.new_connections_per_second,
    )
    made.classes.add(found)
    made.elements[place][key] = f"goto {found.name}"
    made.origins[place, key] = ("limits", section, key)


@per_sections("interfaces", "dhcp", "metadata", "limits")
def kept_out(document: RouterDocument) -> Elements:
    """Networks that have a rate, and further addresses with one of their own."""
    limits = document.limits
    whole = [
        ipaddress.ip_interface(address).network
        for link, limit in limits.networks.items()
        if (limit.sent or limit.received) and link in document.interfaces
        for address in document.interfaces[link].addresses
    ]
    found: Elements = {name: {} for name in KEPT_OUT}
    for network in whole:
        found[f"limited{network.version}"][_interval(network)] = None
    covered = {
        str(link) for link in limits.networks if limits.networks[link].sent or limits.networks[link].received
    }
    guests = limited(document)
    for key, limit in limits.guests.items():
        if limit.sent or limit.received:
            for address, link in guests[key].items():
                if link not in covered:
                    found[f"limited{_version(address)}"][address] = None
    for address, limit in limits.addresses.items():
        ip = ipaddress.ip_address(address)
        if (limit.sent or limit.received) and not any(ip in network for network in whole):
            found[f"limited{_version(address)}"][address] = None
    return found


def _interval(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """As nft lists it."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)
