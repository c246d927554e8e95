"""What an access list's rule matches: spans of numbers, and the elements of nft maps that say the same."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from appliance.address import port_range
from appliance.memo import per_item
from router.document import AclRule
from router.elements import PROTOCOLS, Span, number_text
from router.layers import Prefix

MATCHES = ("ports", "crowd", "icmp", "protocol")
"""Kinds of maps, by what they look up."""
_ICMP = {4: 1, 6: 58}
_ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Box:
    version: int
    cidr: str
    protocol: Span
    detail: Span
    """Ports; or type * 256 + code."""

    @property
    def span(self) -> Span:
        """All protocols in a row, with 65536 numbers for what tells each one's packets apart."""
        return self.protocol[0] * 65536 + self.detail[0], self.protocol[1] * 65536 + self.detail[1]

    @property
    def prefix(self) -> Prefix:
        return _prefix(self.cidr)


@per_item
def boxes(rule: AclRule) -> tuple[Box, ...]:
    return tuple(_made(rule))


def _made(rule: AclRule) -> Iterator[Box]:
    for cidr in _collapsed(tuple(rule.cidrs)) if rule.cidrs else _ANYWHERE:
        version = 6 if ":" in cidr else 4
        match rule.protocol:
            case "tcp" | "udp":
                number = PROTOCOLS[rule.protocol]
                for ports in _merged(rule.ports):
                    yield Box(version, cidr, (number, number), ports)
            case "icmp" | "icmpv6":
                number = 1 if rule.protocol == "icmp" else 58
                # ICMP is IPv4's, ICMPv6 is IPv6's.
                if number == _ICMP[version]:
                    yield Box(version, cidr, (number, number), _types(rule))
            case "all":
                yield Box(version, cidr, (0, 255), (0, 65535))
            case number:
                yield Box(version, cidr, (number, number), (0, 65535))


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


def has_ports(box: Box) -> bool:
    return box.protocol in ((6, 6), (17, 17))


def element(box: Box, *, crowded: bool) -> tuple[str, str]:
    """What kind of map a box is in, and its key there as nft lists it."""
    address, _, length = box.cidr.partition("/")
    far = address if int(length) == (32 if box.version == 4 else 128) else box.cidr
    if has_ports(box):
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
