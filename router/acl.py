"""Access lists as nft verdict maps: each rule is an element or a few, which counts what it decides about.

A list's rules are ordered; `layers` says why a few lookups suffice. An `accept` returns to the chain that
asked, as a connection from one tier to another has two lists to pass.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from appliance.address import port_range
from appliance.memo import per_item, per_sections
from appliance.model import pointer
from router.document import Acl, AclRule, RouterDocument
from router.elements import CROWD, PROTOCOLS, Elements, Span, number_text
from router.layers import Layers, Prefix

DIRECTIONS = ("ingress", "egress")
MATCHES = ("ports", "crowd", "icmp", "protocol")
LOG_GROUPS = {"accept": 1, "drop": 2}
_VERDICTS = {"accept": "return", "drop": "drop"}
_ICMP = {4: 1, 6: 58}
_WHOLE: Span = (0, 256 * 65536 - 1)
"""All protocols with all that tells their packets apart: 65536 numbers for each protocol's ports, or types
with codes."""
_ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Lookup:
    """One verdict map of a list, and what of a packet is looked up in it."""

    map: str
    match: str
    version: int


@dataclass(frozen=True, slots=True)
class Logged:
    """A rule with a chain of its own, which logs what it decides about."""

    chain: str
    title: str
    """Begins the line in the log: 127 characters at most (NF_LOG_PREFIXLEN)."""
    group: int
    """Of nfnetlink_log: what was accepted, what was dropped."""
    verdict: str


@dataclass(frozen=True)
class Direction:
    """One direction of a list, ready for nft."""

    chain: str
    ingress: bool
    policy: str
    layers: tuple[tuple[Lookup, ...], ...]
    logged: tuple[Logged, ...]
    elements: Mapping[str, Mapping[str, str]] = field(repr=False)
    owners: Mapping[tuple[str, str], str] = field(repr=False)
    """The rule of each element, by map and element."""


@dataclass(frozen=True, slots=True)
class _Box:
    version: int
    cidr: str
    protocol: Span
    detail: Span
    """Ports; or type * 256 + code."""

    @property
    def span(self) -> Span:
        return self.protocol[0] * 65536 + self.detail[0], self.protocol[1] * 65536 + self.detail[1]


@per_sections("acls")
def directions(document: RouterDocument) -> tuple[Direction, ...]:
    """All lists, by name."""
    return tuple(
        _direction(acl, name, direction)
        for name, acl in sorted(document.acls.items())
        for direction in DIRECTIONS
    )


def chain(acl: str, direction: str) -> str:
    return f"acl_{acl}_{direction}"


@per_sections("acls")
def elements(document: RouterDocument) -> Elements:
    found: Elements = {}
    for direction in directions(document):
        found.update({name: dict(keys) for name, keys in direction.elements.items()})
    return found


@per_sections("acls")
def pointers(document: RouterDocument) -> dict[tuple[str, str], str]:
    """The place in the document (RFC 6901) of the rule that made an element, by map and element."""
    return {
        place: pointer("acls", name, "rules", rule)
        for name, acl in document.acls.items()
        for direction in DIRECTIONS
        for place, rule in _direction(acl, name, direction).owners.items()
    }


def _direction(acl: Acl, name: str, direction: str) -> Direction:
    return _ingress(acl, name) if direction == "ingress" else _egress(acl, name)


@per_item
def _ingress(acl: Acl, name: str) -> Direction:
    return _made(acl, name, "ingress")


@per_item
def _egress(acl: Acl, name: str) -> Direction:
    return _made(acl, name, "egress")


def _made(acl: Acl, name: str, direction: str) -> Direction:
    ordered = sorted(
        (rule.number, key, rule) for key, rule in acl.rules.items() if rule.direction == direction
    )
    boxes = {key: _boxes(rule) for _, key, rule in ordered}
    found: dict[str, dict[str, str]] = {}
    owners: dict[tuple[str, str], str] = {}
    sharing = Counter(box.detail for several in boxes.values() for box in several if _has_ports(box))
    towers = {
        version: Layers(
            _prefix(box.cidr).length
            for several in boxes.values()
            for box in several
            if box.version == version
        )
        for version in (4, 6)
    }
    # So that a list's first rules are but elements.
    used = {(0, match, version) for match in MATCHES for version in towers}
    begin = chain(name, direction)
    for _, key, rule in ordered:
        for version, tower in towers.items():
            own = [box for box in boxes[key] if box.version == version]
            layer = tower.layer((_prefix(box.cidr), box.span) for box in own)
            for box in own:
                match, text = _element(box, crowded=sharing[box.detail] > CROWD)
                used.add((layer, match, version))
                place = f"{begin}_{layer}_{match}{version}"
                found.setdefault(place, {})[text] = _verdict(rule, name, key)
                owners[place, text] = key
    lookups: dict[int, list[Lookup]] = {}
    for layer, match, version in sorted(used):
        place = f"{begin}_{layer}_{match}{version}"
        found.setdefault(place, {})
        lookups.setdefault(layer, []).append(Lookup(place, match, version))
    return Direction(
        chain=begin,
        ingress=direction == "ingress",
        policy=acl.ingress_policy if direction == "ingress" else acl.egress_policy,
        layers=tuple(tuple(lookups[layer]) for layer in sorted(lookups)),
        logged=tuple(_logged(rule, name, key) for _, key, rule in ordered if rule.log),
        elements=found,
        owners=owners,
    )


def _verdict(rule: AclRule, acl: str, name: str) -> str:
    return f"goto {_logged(rule, acl, name).chain}" if rule.log else _VERDICTS[rule.verdict]


def _logged(rule: AclRule, acl: str, name: str) -> Logged:
    title = f"{acl}/{name}"
    return Logged(f"logged_{title}", title, LOG_GROUPS[rule.verdict], _VERDICTS[rule.verdict])


@per_item
def _boxes(rule: AclRule) -> tuple[_Box, ...]:
    return tuple(_made_boxes(rule))


def _made_boxes(rule: AclRule) -> Iterator[_Box]:
    for cidr in _collapsed(tuple(rule.cidrs)) if rule.cidrs else _ANYWHERE:
        version = 6 if ":" in cidr else 4
        match rule.protocol:
            case "tcp" | "udp":
                number = PROTOCOLS[rule.protocol]
                for ports in _merged(rule.ports):
                    yield _Box(version, cidr, (number, number), ports)
            case "icmp" | "icmpv6":
                number = 1 if rule.protocol == "icmp" else 58
                # ICMP is IPv4's, ICMPv6 is IPv6's.
                if number == _ICMP[version]:
                    yield _Box(version, cidr, (number, number), _types(rule))
            case "all":
                yield _Box(version, cidr, (0, 255), (0, 65535))
            case number:
                yield _Box(version, cidr, (number, number), (0, 65535))


@cache
def _collapsed(cidrs: tuple[str, ...]) -> tuple[str, ...]:
    if len(cidrs) == 1:
        return cidrs
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    four = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    six = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return (
        *map(str, ipaddress.collapse_addresses(four)),
        *map(str, ipaddress.collapse_addresses(six)),
    )


def _merged(ports: list[str]) -> Iterator[Span]:
    """Ranges that don't touch; all ports if there are none."""
    if len(ports) == 1:
        yield port_range(ports[0])
        return
    first, last = -1, -2
    for begin, end in sorted(map(port_range, ports)):
        if begin <= last + 1:
            last = max(last, end)
            continue
        if last >= 0:
            yield first, last
        first, last = begin, end
    yield (first, last) if last >= 0 else (0, 65535)


def _types(rule: AclRule) -> Span:
    if rule.icmp_type is None:
        return 0, 65535
    first = rule.icmp_type * 256
    return (first, first + 255) if rule.icmp_code is None else (first + rule.icmp_code,) * 2


@cache
def _prefix(cidr: str) -> Prefix:
    network = ipaddress.ip_network(cidr)
    length = network.prefixlen
    return Prefix(length, int(network.network_address) >> (network.max_prefixlen - length))


def _has_ports(box: _Box) -> bool:
    return box.protocol in ((6, 6), (17, 17))


def _element(box: _Box, *, crowded: bool) -> tuple[str, str]:
    """What kind of map a box is in, and its key there as nft lists it."""
    address, _, length = box.cidr.partition("/")
    far = address if int(length) == (32 if box.version == 4 else 128) else box.cidr
    if _has_ports(box):
        ports, protocol = number_text(*box.detail), box.protocol[0]
        if crowded:
            return "crowd", f"{far} . {protocol} . {ports}"
        return "ports", f"{ports} . {protocol} . {far}"
    if box.protocol == (_ICMP[box.version],) * 2:
        first, last = box.detail
        # All codes of all types, all codes of one type, or one code.
        types, codes = number_text(first // 256, last // 256), number_text(first % 256, last % 256)
        return "icmp", f"{far} . {types} . {codes}"
    return "protocol", f"{far} . {number_text(*box.protocol)}"
