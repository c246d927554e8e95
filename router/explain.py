"""Which line of the document a rule's verdict about a packet comes from.

Rules look packets up in sets, whose elements are made of the document's items. So for each set there is what
its fields say of a packet, and what makes its elements: `MAKERS`. Other rules are the document's by their
chain.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from appliance.agent.explanation import Stage
from appliance.agent.packet import Packet
from appliance.engine.flows import span
from appliance.model import pointer
from router import acl, firewall, limits, port_forward
from router.admission import ADMISSIONS
from router.document import RouterDocument
from router.elements import Span
from router.network import guest_networks

_SET = re.compile(r"@(\w+)")


class Made(NamedTuple):
    """An element of a set, or a part of one, and the item that made it."""

    set: str
    box: Mapping[str, Span | str]
    """What it says of a packet, by field; a text is a link's name."""
    pointer: str


Maker = Callable[[RouterDocument], Iterator[Made]]


def origins(document: RouterDocument, stage: Stage) -> Sequence[str]:
    """The places in the document (RFC 6901) that a verdict comes from, of several the first first."""
    names = {name.replace("_crowd", "_ports") for name in _SET.findall(stage.rule)}
    found = [
        made.pointer
        for make in MAKERS
        for made in make(document)
        if made.set in names and _holds(made.box, stage)
    ]
    return list(dict.fromkeys(found)) or list(_of_chain(document, stage))


def _holds(box: Mapping[str, Span | str], stage: Stage) -> bool:
    return all(_agrees(value, field, stage) for field, value in box.items())


def _agrees(value: Span | str, field: str, stage: Stage) -> bool:
    if isinstance(value, str):
        return value == (stage.link_in if field == "link_in" else stage.link_out)
    seen = _value(stage.packet, field)
    return value[0] <= seen <= value[1]


def _value(packet: Packet, field: str) -> int:
    if field in ("source", "destination"):
        return span(getattr(packet, field))[0]
    found: int = getattr(packet, field)
    return found


def _boxed(fields: Sequence[str], element: str) -> Mapping[str, Span]:
    return dict(zip(fields, map(span, element.split(" . ")), strict=True))


# --- what makes elements ------------------------------------------------------------------------------


def _forwards(document: RouterDocument) -> Iterator[Made]:
    for name, made in port_forward.pieces(document.port_forwards).items():
        for place, key, _ in made:
            yield Made(place, _boxed(ADMISSIONS[place].fields, key), pointer("port_forwards", name))


def _translations(document: RouterDocument) -> Iterator[Made]:
    for address, nat in document.static_nat.items():
        at = pointer("static_nat", address)
        yield Made("static_nat", {"destination": span(address)}, at)
        yield Made("static_nat_out", {"source": span(nat.target)}, at)
    for network in guest_networks(document):
        if network.link in document.source_nat:
            at = pointer("source_nat", network.link)
            yield Made("source_nat", {"source": network.span}, at)


def _rules(document: RouterDocument) -> Iterator[Made]:
    for place, pieces in firewall.pieces(document):
        for name, several in pieces.items():
            for set_name, protocol, box in several:
                yield Made(set_name, _rule_box(set_name, protocol, box), pointer(*place, name))


def _rule_box(set_name: str, protocol: int, box: tuple[Span, ...]) -> Mapping[str, Span]:
    far, near, last = box
    ends = ("source", "destination") if set_name.startswith("ingress") else ("destination", "source")
    found = dict(zip(ends, (far, near), strict=True))
    match set_name.rpartition("_")[2].removesuffix("6"):
        case "ports":
            return {**found, "protocol": (protocol, protocol), "port": last}
        case "icmp":
            return {**found, "icmp_type": last}
        case _:
            return {**found, "protocol": last}


def _limits(document: RouterDocument) -> Iterator[Made]:
    for (place, element), where in limits.origins(document).items():
        if place.startswith("network"):
            field = "link_in" if "sent" in place else "link_out"
            yield Made(place, {field: element}, pointer(*where))
        elif not place.startswith(("class", "address_class")):
            yield Made(
                place, {"source" if "sent" in place else "destination": span(element)}, pointer(*where)
            )


def _lists(document: RouterDocument) -> Iterator[Made]:
    for direction in acl.directions(document):
        far = "source" if direction.ingress else "destination"
        fields = {
            "ports": ("port", "protocol", far),
            "crowd": (far, "protocol", "port"),
            "icmp": (far, "icmp_type"),
            "protocol": (far, "protocol"),
        }
        kinds = {lookup.map: fields[lookup.match] for lookup in direction.lookups}
        for (place, element), rule in direction.owners.items():
            box = dict(zip(kinds[place], map(span, element.split(" . ")), strict=False))
            yield Made(place, box, pointer("acls", direction.acl, "rules", rule))


MAKERS: list[Maker] = [_forwards, _translations, _rules, _lists, _limits]
"""A service whose sets are its own adds what makes their elements."""


# --- what has no set ----------------------------------------------------------------------------------


def _of_chain(document: RouterDocument, stage: Stage) -> Iterator[str]:
    chain, link = stage.chain, stage.link_in
    if stage.table == limits.TABLE:
        yield from _of_limit(document, stage)
    elif chain in ("spoofed", "from_outside", f"from_{link}"):
        yield pointer("interfaces", link, "addresses")
    elif chain == "ingress" and stage.rule in ("accept", "drop"):
        yield pointer("firewall", "ingress", "policy")
    elif chain.startswith("egress_") and stage.rule in ("accept", "drop"):
        at = ("firewall", "egress", chain.removeprefix("egress_"))
        yield pointer(*at, "policy") if at[2] in document.firewall.egress else pointer(*at[:2])
    elif chain.startswith("acl_"):
        # Behind all its rules.
        for direction in acl.directions(document):
            if direction.chain == chain:
                policy = "ingress_policy" if direction.ingress else "egress_policy"
                yield pointer("acls", direction.acl, policy)
    elif chain == f"input_{link}":
        sections: Mapping[int, str] = {53: "dns", 67: "dhcp", 80: "metadata", 8080: "metadata"}
        section = sections.get(stage.packet.port, "")
        if section and link in getattr(document, section):
            yield pointer(section, link)
    elif chain == "forward" and stage.verdict == "accept" and link == stage.link_out:
        yield pointer("interfaces", link)


def _of_limit(document: RouterDocument, stage: Stage) -> Iterator[str]:
    usual = {
        "usual_connections": "connections",
        "usual_new": "new_connections_per_second",
        "dhcp_packets": "dhcp_packets_per_second",
        "dns_packets": "dns_packets_per_second",
    }
    for name in _SET.findall(stage.rule):
        if name in usual:
            yield pointer("limits", "usual", usual[name])
    if stage.chain == "guests" and f'"{stage.link_in}"' in stage.rule:
        yield pointer("limits", "networks", stage.link_in)
    for place, fields in (("class", "source"), ("address_class", "destination")):
        key = (f"{place}{stage.packet.version}", getattr(stage.packet, fields))
        if stage.chain.startswith(("guests_", "addresses_")) and key in limits.origins(document):
            yield pointer(*limits.origins(document)[key])
