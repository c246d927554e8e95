"""Firewall rules as elements of nft sets: a packet meets a handful of lookups, however many rules there are.

Drop sets are looked up before accept sets, so the order of rules means nothing.
"""

from collections.abc import Iterator

from appliance.address import ipv4_span, port_range
from appliance.memo import per_item, per_sections
from router.document import EgressRule, FirewallRule, IngressRule, RouterDocument
from router.elements import (
    ALL_ADDRESSES,
    ALL_PORTS,
    PROTOCOLS,
    Box,
    Elements,
    Span,
    number_text,
    span_text,
    union,
)
from router.network import guest_networks

DIRECTIONS = ("ingress", "egress")
MATCHES = ("ports", "icmp", "protocol")
"""By what a set's last field is: ports with their protocol, ICMP types, or whole protocols."""
SETS = [
    f"{direction}_{verdict}_{match}"
    for direction in DIRECTIONS
    for verdict in ("drop", "accept")
    for match in MATCHES
]

_TYPES: Span = (0, 255)
Piece = tuple[str, int, Box]
"""Match, protocol number, and (source, destination, last field)."""


@per_sections("interfaces", "firewall")
def elements(document: RouterDocument) -> Elements:
    grouped: dict[str, dict[int, list[Box]]] = {name: {} for name in SETS}
    for rule in document.firewall.ingress.rules.values():
        _collect(grouped, "ingress", rule, _ingress_pieces(rule))
    networks = {network.link: network.span for network in guest_networks(document)}
    for link, egress in document.firewall.egress.items():
        for outward in egress.rules.values():
            _collect(grouped, "egress", outward, _egress_pieces(outward, networks[link]))
    return {name: dict.fromkeys(_texts(name, groups)) for name, groups in grouped.items()}


def _collect(
    grouped: dict[str, dict[int, list[Box]]], direction: str, rule: FirewallRule, pieces: tuple[Piece, ...]
) -> None:
    for match, protocol, box in pieces:
        grouped[f"{direction}_{rule.verdict}_{match}"].setdefault(protocol, []).append(box)


def _texts(name: str, groups: dict[int, list[Box]]) -> Iterator[str]:
    with_ports = name.endswith("_ports")
    for protocol, boxes in groups.items():
        for source, destination, last in union(boxes):
            addresses = f"{span_text(*source)} . {span_text(*destination)}"
            if with_ports:
                addresses += f" . {protocol}"
            yield f"{addresses} . {number_text(*last)}"


@per_item
def _ingress_pieces(rule: IngressRule) -> tuple[Piece, ...]:
    destination = ipv4_span(rule.address)
    sources = _spans(rule.source_cidrs, ALL_ADDRESSES)
    return tuple(piece for source in sources for piece in _pieces(rule, source, destination))


@per_item
def _egress_pieces(rule: EgressRule, network: Span) -> tuple[Piece, ...]:
    return tuple(
        piece
        for source in _spans(rule.source_cidrs, network)
        for destination in _spans(rule.destination_cidrs, ALL_ADDRESSES)
        for piece in _pieces(rule, source, destination)
    )


def _spans(cidrs: list[str], default: Span) -> list[Span]:
    return [ipv4_span(cidr) for cidr in cidrs] or [default]


def _pieces(rule: FirewallRule, source: Span, destination: Span) -> Iterator[Piece]:
    match rule.protocol:
        case "tcp" | "udp":
            ports = port_range(rule.ports) if rule.ports else ALL_PORTS
            yield "ports", PROTOCOLS[rule.protocol], (source, destination, ports)
        case "icmp":
            types = (rule.icmp_type, rule.icmp_type) if rule.icmp_type is not None else _TYPES
            yield "icmp", 0, (source, destination, types)
        case "all":
            yield "protocol", 0, (source, destination, _TYPES)
        case number:
            yield "protocol", 0, (source, destination, (number, number))
