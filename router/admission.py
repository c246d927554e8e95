"""What the elements of the filter's sets say of the connections that they let in: so that those end with the
rule, and nobody else's."""

from collections.abc import Mapping

from appliance.memo import per_sections
from appliance.resources import Admission, Admitted
from router.document import RouterDocument
from router.network import guest_networks

_FORWARD = ("port", "destination", "protocol")
_FORWARD_FROM = ("port", "source", "destination", "protocol")


def _rules(direction: str) -> Mapping[str, Admission]:
    """The far address is a connection's source where it comes in, its destination where it goes out."""
    far, near = ("source", "destination") if direction == "ingress" else ("destination", "source")
    return {
        f"{direction}_accept_ports": Admission(direction, ("port", "protocol", far, near)),
        f"{direction}_accept_crowd": Admission(direction, (far, near, "protocol", "port")),
        f"{direction}_accept_icmp": Admission(direction, (far, near, "icmp_type")),
        f"{direction}_accept_protocol": Admission(direction, (far, near, "protocol")),
    }


ADMISSIONS: Mapping[str, Admission] = {
    "forward_port": Admission("forward", _FORWARD, ("reply_source", "reply_port")),
    "forward_range": Admission("forward", _FORWARD, ("reply_source",)),
    "forward_port_from": Admission("forward", _FORWARD_FROM, ("reply_source", "reply_port")),
    "forward_range_from": Admission("forward", _FORWARD_FROM, ("reply_source",)),
    "static_nat": Admission("static_nat", ("destination",), ("reply_source",)),
    "static_nat_out": Admission("static_nat_out", ("source",), ("reply_destination",)),
    **_rules("ingress"),
    **_rules("egress"),
}


@per_sections("interfaces", "firewall")
def admitted(document: RouterDocument) -> tuple[Admitted, ...]:
    """What needs no rule: by a policy, or because the rules are not about it."""
    found = []
    if document.firewall.ingress.policy == "accept":
        found.append(Admitted("ingress"))
    for network in guest_networks(document):
        # A guest that asks for a public address of ours meets no ingress rule.
        found.append(Admitted("ingress", "source", network.cidr))
        egress = document.firewall.egress.get(network.link)
        if egress is not None and egress.policy == "accept":
            found.append(Admitted("egress", "source", network.cidr))
    return tuple(found)
