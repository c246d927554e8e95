"""Firewall rules as elements of nft verdict maps: a packet meets few lookups, however many rules there are.

Drop maps are looked up before accept maps, so the order of rules means nothing. An element counts what it
decides about, and is of the same rules all over.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from appliance.address import port_range, span
from appliance.memo import different, per_key, per_sections
from appliance.model import pointer
from router.document import EgressRule, FirewallRule, IngressRule, RouterDocument
from router.elements import (
    ALL_ADDRESSES,
    ALL_PORTS,
    CROWD,
    PROTOCOLS,
    Box,
    Elements,
    Span,
    meets,
    number_text,
    parts,
    span_text,
)
from router.logged import Logged
from router.network import GuestNetwork, guest_networks

DIRECTIONS = ("ingress", "egress")
MATCHES = ("ports", "icmp", "protocol")
"""By what a rule's last field is: ports with their protocol, ICMP types, or whole protocols."""
SETS = [
    f"{direction}_{verdict}_{match}{six}"
    for direction in DIRECTIONS
    for verdict in ("drop", "accept")
    for match in (*MATCHES, "crowd")
    for six in ("", "6")
]
"""Those whose names end in a 6 are of IPv6."""

_FIELDS = {
    "ports": ("port", "protocol", "far", "near"),
    "crowd": ("far", "near", "protocol", "port"),
    "icmp": ("far", "near", "icmp_type"),
    "protocol": ("far", "near", "protocol"),
}
COUNTING = {
    name: (name.replace("_crowd", "_ports"), _FIELDS[name.split("_")[2].rstrip("6")]) for name in SETS
}
"""By map, the group in which elements follow one another, and what their fields say."""
_TYPES: Span = (0, 255)


class Piece(NamedTuple):
    """A part of what a rule is about."""

    map: str
    protocol: int
    box: Box
    """Far address, near address, last field."""
    verdict: str


Pieces = dict[str, tuple[Piece, ...]]
"""By the name of their rule."""


@per_sections("interfaces", "firewall")
def elements(document: RouterDocument) -> Elements:
    """A map for each direction, verdict and match. The far address is the one outside, the near one that of
    this router or of its guests."""
    made = [several for _, several in pieces(document)]
    found: Elements = {name: {} for name in SETS}
    for group in _groups.of(made):
        for name, elements in group.elements.items():
            found[name] = {**found[name], **elements}
    return found


def pointers(document: RouterDocument) -> dict[tuple[str, str], tuple[str, ...]]:
    """The places in the document (RFC 6901) of the rules that an element is of, by map and element."""
    groups: defaultdict[tuple[str, int], dict[Box, str]] = defaultdict(dict)
    rules: defaultdict[tuple[str, int, Box], dict[str, None]] = defaultdict(dict)
    for place, several in pieces(document):
        for name, made in several.items():
            at = pointer(*place, name)
            for piece in made:
                groups[piece.map, piece.protocol][piece.box] = piece.verdict
                rules[(piece.map, piece.protocol, piece.box)][at] = None
    return {
        element: tuple(sorted({at for whole in wholes for at in rules[(*key, whole)]}))
        for key, boxes in groups.items()
        for element, wholes in _Group(*key, boxes).wholes()
    }


@per_sections("interfaces", "firewall")
def logged(document: RouterDocument) -> tuple[Logged, ...]:
    """The rules that log."""
    places: dict[str, Mapping[str, FirewallRule]] = {"ingress": document.firewall.ingress.rules}
    places |= {link: egress.rules for link, egress in document.firewall.egress.items()}
    return tuple(
        _logged(place, name, rule)
        for place, rules in sorted(places.items())
        for name, rule in sorted((name, rule) for name, rule in rules.items() if rule.log)
    )


def _logged(place: str, name: str, rule: FirewallRule) -> Logged:
    """`place` is `ingress`, or the network whose egress it is about."""
    return Logged(f"logged/{place}/{name}", f"{rule.verdict} {place}/{name}", rule.verdict)


def pieces(document: RouterDocument) -> Iterator[tuple[tuple[str, ...], Pieces]]:
    """What each rule is made of, with the place of the rules in the document."""
    yield ("firewall", "ingress", "rules"), _ingress_pieces(document.firewall.ingress.rules)
    for network in guest_networks(document):
        egress = document.firewall.egress.get(network.link)
        if egress is not None:
            place = ("firewall", "egress", network.link, "rules")
            yield place, _egress_pieces(egress.rules, network)


class _Group:
    """The boxes of one protocol in one map with their verdicts, as elements; a `CROWD` is apart."""

    def __init__(self, name: str, protocol: int, boxes: Mapping[Box, str]) -> None:
        self._name, self._protocol = name, protocol
        self._version = 6 if name.endswith("6") else 4
        self._by_ports = "_ports" in name
        self._boxes = dict(boxes)
        found = list(parts(self._boxes))
        self._apart = all(wholes == (part,) for part, wholes in found)
        self._parts = () if self._apart else tuple(found)
        sharing = (part[-1] for part, _ in found) if self._by_ports else ()
        self._sharing = Counter(sharing)
        self.elements: Elements = {}
        # Of rules that are about the same, one that logs is heard.
        self._add((part, max(self._boxes[box] for box in wholes)) for part, wholes in found)

    def grow(self, boxes: Mapping[Box, str]) -> bool:
        """Take in further boxes, if that is but a further element for each."""
        come = {box: verdict for box, verdict in boxes.items() if self._boxes.get(box) != verdict}
        if not self._apart or len(come) > _FEW:
            return False
        for box, verdict in come.items():
            self._sharing[box[-1]] += 1
            if meets(box, self._boxes) or self._sharing[box[-1]] == CROWD + 1:
                return False
            self._boxes[box] = verdict
        self._add(come.items())
        return True

    def wholes(self) -> Iterator[tuple[tuple[str, str], tuple[Box, ...]]]:
        """Map and element, and the boxes that it is a part of."""
        for part, wholes in self._parts or ((box, (box,)) for box in self._boxes):
            yield self._element(*part), wholes

    def _add(self, boxes: Iterable[tuple[Box, str]]) -> None:
        come: dict[str, dict[str, str | None]] = {}
        for box, verdict in boxes:
            name, text = self._element(*box)
            come.setdefault(name, {})[text] = verdict
        # Never in place: the engine keeps the mapping that it was given last.
        for name, texts in come.items():
            self.elements[name] = {**self.elements.get(name, {}), **texts}

    def _element(self, far: Span, near: Span, last: Span) -> tuple[str, str]:
        addresses = f"{span_text(*far, self._version)} . {span_text(*near, self._version)}"
        if not self._by_ports:
            return self._name, f"{addresses} . {number_text(*last)}"
        if self._sharing[last] > CROWD:
            crowd = self._name.replace("_ports", "_crowd")
            return crowd, f"{addresses} . {self._protocol} . {number_text(*last)}"
        return self._name, f"{number_text(*last)} . {self._protocol} . {addresses}"


class _Groups:
    """What was made of the rules last time: while rules only come, what comes is all there is to do."""

    def __init__(self) -> None:
        self._made: list[Pieces] = []
        self._groups: dict[tuple[str, int], _Group] = {}

    def of(self, made: list[Pieces]) -> Iterable[_Group]:
        come = self._come(made)
        if come is None or not self._grow(come):
            whole = _by_group(piece for pieces in made for several in pieces.values() for piece in several)
            self._groups = {key: _Group(*key, boxes) for key, boxes in whole.items()}
        self._made = made
        return self._groups.values()

    def _come(self, made: list[Pieces]) -> Iterator[Piece] | None:
        """The pieces that are new; None where others went."""
        if len(made) != len(self._made):
            return None
        changed = [different(new, old) for new, old in zip(made, self._made, strict=True)]
        if any(
            len(new) != len(old) + len(keys)
            for new, old, keys in zip(made, self._made, changed, strict=True)
        ):
            return None
        return (piece for new, keys in zip(made, changed, strict=True) for key in keys for piece in new[key])

    def _grow(self, come: Iterable[Piece]) -> bool:
        for key, boxes in _by_group(come).items():
            if key not in self._groups:
                self._groups[key] = _Group(*key, boxes)
            elif not self._groups[key].grow(boxes):
                return False
        return True


_groups = _Groups()
_FEW = 16
"""So many times a look at all boxes is quicker than sorting them."""


def _by_group(pieces: Iterable[Piece]) -> dict[tuple[str, int], dict[Box, str]]:
    found: defaultdict[tuple[str, int], dict[Box, str]] = defaultdict(dict)
    for name, protocol, box, verdict in pieces:
        boxes = found[name, protocol]
        boxes[box] = max(verdict, boxes.get(box, verdict))
    return found


@per_key
def _ingress_pieces(name: str, rule: IngressRule) -> tuple[Piece, ...]:
    verdict = _verdict("ingress", name, rule)
    return tuple(_pieces("ingress", verdict, rule, rule.source_cidrs, [rule.address]))


@per_key
def _egress_pieces(name: str, rule: EgressRule, network: GuestNetwork) -> tuple[Piece, ...]:
    near = rule.source_cidrs or [*network.cidrs, *network.cidrs6]
    verdict = _verdict(network.link, name, rule)
    return tuple(_pieces("egress", verdict, rule, rule.destination_cidrs, near))


def _verdict(place: str, name: str, rule: FirewallRule) -> str:
    return f"goto {_logged(place, name, rule).chain}" if rule.log else rule.verdict


def _pieces(
    direction: str, verdict: str, rule: FirewallRule, far: list[str], near: list[str]
) -> Iterator[Piece]:
    """All that is near with all that is far and of the same family; far is anywhere unless it is said."""
    for cidr in near:
        six = ":" in cidr
        outside = [span(each) for each in far if (":" in each) == six]
        for other in outside if far else [ALL_ADDRESSES[6 if six else 4]]:
            boxes = _boxes(f"{direction}_{rule.verdict}", rule, other, span(cidr), "6" if six else "")
            for name, protocol, box in boxes:
                yield Piece(name, protocol, box, verdict)


def _boxes(name: str, rule: FirewallRule, far: Span, near: Span, six: str) -> Iterator[tuple[str, int, Box]]:
    match rule.protocol:
        case "tcp" | "udp":
            ports = port_range(rule.ports) if rule.ports else ALL_PORTS
            yield f"{name}_ports{six}", PROTOCOLS[rule.protocol], (far, near, ports)
        case "icmp" | "icmpv6":
            types = (rule.icmp_type, rule.icmp_type) if rule.icmp_type is not None else _TYPES
            # ICMP is IPv4's, ICMPv6 is IPv6's.
            if bool(six) == (rule.protocol == "icmpv6"):
                yield f"{name}_icmp{six}", 0, (far, near, types)
        case "all":
            yield f"{name}_protocol{six}", 0, (far, near, _TYPES)
        case number:
            yield f"{name}_protocol{six}", 0, (far, near, (number, number))
