"""What makes the elements of the firewall's, the access lists', the translations' and the limits' sets."""

from collections.abc import Iterator, Mapping

from appliance.engine.boxes import span
from appliance.model import pointer
from router import acl, firewall, limits, port_forward
from router.admission import ADMISSIONS
from router.document import RouterDocument
from router.elements import Span
from router.explain.made import Made, Maker, boxed
from router.network import guest_networks


def _forwards(document: RouterDocument) -> Iterator[Made]:
    for name, made in port_forward.pieces(document.port_forwards).items():
        for place, key, _ in made:
            yield Made(place, boxed(ADMISSIONS[place].fields, key), pointer("port_forwards", name))


def _translations(document: RouterDocument) -> Iterator[Made]:
    for address, nat in document.static_nat.items():
        at = pointer("static_nat", address)
        yield Made("static_nat", {"destination": span(address)}, at)
        yield Made("static_nat_out", {"source": span(nat.target)}, at)
    for network in guest_networks(document):
        if network.link in document.source_nat:
            at = pointer("source_nat", network.link)
            for subnet in network.subnets:
                yield Made("source_nat", {"source": subnet.span}, at)


def _rules(document: RouterDocument) -> Iterator[Made]:
    for place, pieces in firewall.pieces(document):
        for name, several in pieces.items():
            for piece in several:
                box = _rule_box(piece.map, piece.protocol, piece.box)
                yield Made(piece.map, box, pointer(*place, name))


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
            "icmp": (far, "icmp_type", "icmp_code"),
            "protocol": (far, "protocol"),
        }
        kinds = {lookup.map: fields[lookup.match] for lookup in direction.lookups}
        for (place, element), rule in direction.owners.items():
            box = dict(zip(kinds[place], map(span, element.split(" . ")), strict=True))
            yield Made(place, box, pointer("acls", direction.acl, "rules", rule))


MAKERS: list[Maker] = [_forwards, _translations, _rules, _lists, _limits]
