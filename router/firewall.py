"""Firewall rules as elements of nft sets: a packet meets a handful of lookups, however many rules there are.

Drop sets are looked up before accept sets, so the order of rules means nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

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
"""Match, protocol number, and a box of (last field, far address, near address)."""

_unions: defaultdict[tuple[str, int], Union] = defaultdict(Union)
"""By set and protocol: what they remember makes one more rule cheap."""


@per_sections("interfaces", "firewall")
def elements(document: RouterDocument) -> Elements:
    """A set for each direction, verdict and match. The far address is the one outside, the near one that of
    this router or of its guests."""
    boxes: dict[str, dict[int, list[Box]]] = {
        f"{direction}_{verdict}_{match}": {}
        for direction in DIRECTIONS
        for verdict in ("drop", "accept")
        for match in MATCHES
    }
    ingress = document.firewall.ingress.rules
    _collect(boxes, "ingress", ingress, _ingress_pieces(ingress))
    for network in guest_networks(document):
        egress = document.firewall.egress.get(network.link)
        if egress is not None:
            _collect(boxes, "egress", egress.rules, _egress_pieces(egress.rules, network.span))
    found: Elements = {}
    for name, by_protocol in boxes.items():
        pieces = {protocol: _unions[name, protocol].of(some) for protocol, some in by_protocol.items()}
        found |= _by_ports(name, pieces) if name.endswith("_ports") else _by_addresses(name, pieces)
    return found


def _collect(
    boxes: dict[str, dict[int, list[Box]]],
    direction: str,
    rules: Mapping[str, FirewallRule],
    pieces: Mapping[str, tuple[Piece, ...]],
) -> None:
    for name, rule in rules.items():
        for match, protocol, box in pieces[name]:
            boxes[f"{direction}_{rule.verdict}_{match}"].setdefault(protocol, []).append(box)


def _by_ports(name: str, pieces: Mapping[int, Iterable[Box]]) -> Elements:
    """The kernel compares what shares its first field with all the others that share it. So a crowd that has
    its ports in common is in a set of its own, which begins with the far address."""
    several: dict[str, str | None] = {}
    crowded: dict[str, str | None] = {}
    for protocol, boxes in pieces.items():
        count = Counter([box[0] for box in boxes])
        crowds = {ports for ports, number in count.items() if number > CROWD}
        for box in boxes:
            if box[0] in crowds:
                crowded[_crowd_text(protocol, *box)] = None
            else:
                several[_ports_text(protocol, *box)] = None
    return {name: several, name.replace("_ports", "_crowd"): crowded}


def _by_addresses(name: str, pieces: Mapping[int, Iterable[Box]]) -> Elements:
    texts = [
        f"{span_text(*far)} . {span_text(*near)} . {number_text(*last)}"
        for boxes in pieces.values()
        for last, far, near in boxes
    ]
    return {name: dict.fromkeys(texts)}


def _ports_text(protocol: int, ports: Span, far: Span, near: Span) -> str:
    return f"{number_text(*ports)} . {protocol} . {span_text(*far)} . {span_text(*near)}"


def _crowd_text(protocol: int, ports: Span, far: Span, near: Span) -> str:
    return f"{span_text(*far)} . {span_text(*near)} . {protocol} . {number_text(*ports)}"


@per_key
def _ingress_pieces(name: str, rule: IngressRule) -> tuple[Piece, ...]:
    near = ipv4_span(rule.address)
    return tuple(
        piece for far in _spans(rule.source_cidrs, ALL_ADDRESSES) for piece in _pieces(rule, far, near)
    )


@per_key
def _egress_pieces(name: str, rule: EgressRule, network: Span) -> tuple[Piece, ...]:
    return tuple(
        piece
        for near in _spans(rule.source_cidrs, network)
        for far in _spans(rule.destination_cidrs, ALL_ADDRESSES)
        for piece in _pieces(rule, far, near)
    )


def _spans(cidrs: list[str], default: Span) -> list[Span]:
    return [ipv4_span(cidr) for cidr in cidrs] or [default]


def _pieces(rule: FirewallRule, far: Span, near: Span) -> Iterator[Piece]:
    match rule.protocol:
        case "tcp" | "udp":
            ports = port_range(rule.ports) if rule.ports else ALL_PORTS
            yield "ports", PROTOCOLS[rule.protocol], (ports, far, near)
        case "icmp":
            types = (rule.icmp_type, rule.icmp_type) if rule.icmp_type is not None else _TYPES
            yield "icmp", 0, (types, far, near)
        case "all":
            yield "protocol", 0, (_TYPES, far, near)
        case number:
            yield "protocol", 0, ((number, number), far, near)
