"""Firewall rules as elements of nft sets: a packet meets a handful of lookups, however many rules there are.

Drop sets are looked up before accept sets, so the order of rules means nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from appliance.address import ipv4_span, port_range
from appliance.memo import per_key, per_sections
from router.document import EgressRule, FirewallRule, IngressRule, RouterDocument
from router.elements import (
    ALL_ADDRESSES,
    ALL_PORTS,
    PROTOCOLS,
    Box,
    Elements,
    Span,
    Union,
    number_text,
    span_text,
)
from router.network import guest_networks

DIRECTIONS = ("ingress", "egress")
MATCHES = ("ports", "icmp", "protocol")
"""By what a rule's last field is: ports with their protocol, ICMP types, or whole protocols."""
CROWD = 500
"""So many elements may have their ports in common in the sets that begin with them; see `_by_ports`."""

_TYPES: Span = (0, 255)
Piece = tuple[str, int, Box]
"""Set, protocol number, and a box of (last field, far address, near address)."""


class _Boxes(Union):
    """The boxes of one protocol in one set, and the elements that they are."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[Box, str] = {}


_boxes: defaultdict[tuple[str, int], _Boxes] = defaultdict(_Boxes)
"""By set and protocol: what they remember makes one more rule cheap."""


@per_sections("interfaces", "firewall")
def elements(document: RouterDocument) -> Elements:
    """A set for each direction, verdict and match. The far address is the one outside, the near one that of
    this router or of its guests."""
    made = [_ingress_pieces(document.firewall.ingress.rules)]
    for network in guest_networks(document):
        egress = document.firewall.egress.get(network.link)
        if egress is not None:
            made.append(_egress_pieces(egress.rules, network.span))
    boxes: defaultdict[tuple[str, int], list[Box]] = defaultdict(list)
    for pieces in made:
        for several in pieces.values():
            for name, protocol, box in several:
                boxes[name, protocol].append(box)
    found: Elements = {}
    for direction in DIRECTIONS:
        for verdict in ("drop", "accept"):
            for match in (*MATCHES, "crowd"):
                found[f"{direction}_{verdict}_{match}"] = {}
    for (name, protocol), some in boxes.items():
        (_by_ports if name.endswith("_ports") else _by_addresses)(name, protocol, some, found)
    return found


def _by_ports(name: str, protocol: int, boxes: list[Box], found: Elements) -> None:
    """The kernel compares what shares its first field with all the others that share it. So a crowd that has
    its ports in common is in a set of its own, which begins with the far address."""
    known = _boxes[name, protocol]
    pieces = known.of(boxes)
    count = Counter([box[0] for box in pieces])
    crowds = {ports for ports, number in count.items() if number > CROWD}
    if crowds:
        crowded = [box for box in pieces if box[0] in crowds]
        found[name.replace("_ports", "_crowd")].update(
            dict.fromkeys(_crowd_text(protocol, *box) for box in crowded)
        )
        pieces = [box for box in pieces if box[0] not in crowds]
    old = known.texts
    known.texts = {box: old.get(box) or _ports_text(protocol, *box) for box in pieces}
    found[name].update(dict.fromkeys(known.texts.values()))


def _by_addresses(name: str, protocol: int, boxes: list[Box], found: Elements) -> None:
    for last, far, near in _boxes[name, protocol].of(boxes):
        found[name][f"{span_text(*far)} . {span_text(*near)} . {number_text(*last)}"] = None


def _ports_text(protocol: int, ports: Span, far: Span, near: Span) -> str:
    return f"{number_text(*ports)} . {protocol} . {span_text(*far)} . {span_text(*near)}"


def _crowd_text(protocol: int, ports: Span, far: Span, near: Span) -> str:
    return f"{span_text(*far)} . {span_text(*near)} . {protocol} . {number_text(*ports)}"


@per_key
def _ingress_pieces(name: str, rule: IngressRule) -> tuple[Piece, ...]:
    near = ipv4_span(rule.address)
    return tuple(
        piece
        for far in _spans(rule.source_cidrs, ALL_ADDRESSES)
        for piece in _pieces("ingress", rule, far, near)
    )


@per_key
def _egress_pieces(name: str, rule: EgressRule, network: Span) -> tuple[Piece, ...]:
    return tuple(
        piece
        for near in _spans(rule.source_cidrs, network)
        for far in _spans(rule.destination_cidrs, ALL_ADDRESSES)
        for piece in _pieces("egress", rule, far, near)
    )


def _spans(cidrs: list[str], default: Span) -> list[Span]:
    return [ipv4_span(cidr) for cidr in cidrs] or [default]


def _pieces(direction: str, rule: FirewallRule, far: Span, near: Span) -> Iterator[Piece]:
    name = f"{direction}_{rule.verdict}"
    match rule.protocol:
        case "tcp" | "udp":
            ports = port_range(rule.ports) if rule.ports else ALL_PORTS
            yield f"{name}_ports", PROTOCOLS[rule.protocol], (ports, far, near)
        case "icmp":
            types = (rule.icmp_type, rule.icmp_type) if rule.icmp_type is not None else _TYPES
            yield f"{name}_icmp", 0, (types, far, near)
        case "all":
            yield f"{name}_protocol", 0, (_TYPES, far, near)
        case number:
            yield f"{name}_protocol", 0, ((number, number), far, near)
