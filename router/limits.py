"""Limits as elements of nft maps: a packet meets a fixed number of lookups, however many guests have one.

Rates are queues where packets can wait (`router.shaping`), and policers everywhere else: named limit
objects that maps lead to. Whoever has one isn't let onto the kernel's fast path, where no chain would see
his packets. Connections are counted in sets that packets fill, one for each number that the document gives:
those sets are the structure's, and of such numbers there are few.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.memo import per_key, per_sections
from appliance.resources import Limit as Policer
from appliance.resources import Resource, Ruleset, Sysctl
from appliance.template import render
from router import shaping
from router.document import Limit, RouterDocument
from router.document.limits import Rate, Usual
from router.elements import Elements
from router.guests import Limited, is_address, limited
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


class _Part(NamedTuple):
    """An element, and what it leads to."""

    place: str
    element: str
    value: str
    origin: tuple[str, ...]
    limit: Policer | Class


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
    limits = document.limits
    for parts in _of_guests(limited(document), limits.usual).values():
        _add(made, parts)
    for link, limit in limits.networks.items():
        for direction in DIRECTIONS:
            _add(made, _policer(limit, ("networks", link), direction, f"network_{direction}", [link]))
    for address, limit in limits.addresses.items():
        version = _version(address)
        for direction in DIRECTIONS:
            place = f"address_{direction}{version}"
            _add(made, _policer(limit, ("addresses", address), direction, place, [address]))
        _add(made, _class(limit, ("addresses", address), f"address_class{version}", _UNUSUAL))
    return made


def _add(made: _Made, parts: Iterable[_Part]) -> None:
    for place, element, value, origin, limit in parts:
        made.elements[place][element] = value
        made.origins[place, element] = origin
        if isinstance(limit, Class):
            made.classes.add(limit)
        else:
            made.policers[value] = limit


@per_key
def _of_guests(key: str, guest: Limited, usual: Usual) -> tuple[_Part, ...]:
    limit, homes = guest
    at = ("guests", key)
    parts = [
        part
        for direction in DIRECTIONS
        for version in (4, 6)
        for part in _policer(
            limit, at, direction, f"guest_{direction}{version}",
            [address for address in homes or () if _version(address) == version],
        )
    ]  # fmt: skip
    place = f"class{_version(key)}" if is_address(key) else "class_mac"
    return (*parts, *_class(limit, at, place, usual))


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _policer(
    limit: Limit, at: tuple[str, str], direction: str, place: str, elements: Iterable[str]
) -> Iterator[_Part]:
    rate: Rate | None = getattr(limit, direction)
    if rate is None:
        return
    section, key = at
    # nft's names have no colons.
    name = f"{section}_{key.replace(':', '_')}_{direction}"
    policer = Policer(rate=rate.rate // 8, burst=rate.burst)
    for element in elements:
        yield _Part(place, element, name, ("limits", section, key, direction), policer)


def _class(limit: Limit, at: tuple[str, str], place: str, usual: Usual) -> Iterator[_Part]:
    if limit.connections is None and limit.new_connections_per_second is None:
        return
    section, key = at
    found = Class(
        section,
        limit.connections or usual.connections,
        limit.new_connections_per_second or usual.new_connections_per_second,
    )
    yield _Part(place, key, f"goto {found.name}", ("limits", section, key), found)


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
    for limit, homes in limited(document).values():
        if limit.sent or limit.received:
            for address, link in (homes or {}).items():
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
