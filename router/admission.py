"""What the elements of the filter's sets say of the connections that they let in: so that those end with the
rule, and nobody else's."""

from collections.abc import Mapping

from appliance.memo import per_sections
from appliance.resources import Admission, Admitted
from router.document import RouterDocument
from router.network import guest_networks

_FORWARD = ("port", "destination", "protocol")
_FORWARD_FROM = ("port", "source", "destination", "protocol")


def _rules(direction: str, six: str = "") -> Mapping[str, Admission]:
    """The far address is a connection's source where it comes in, its destination where it goes out.
    Families are groups apart: addresses are numbers here, and IPv6's smallest are IPv4's."""
    group = f"{direction}{six}"
    far, near = ("source", "destination") if direction == "ingress" else ("destination", "source")
    return {
        f"{direction}_accept_ports{six}": Admission(group, ("port", "protocol", far, near)),
        f"{direction}_accept_crowd{six}": Admission(group, (far, near, "protocol", "port")),
        f"{direction}_accept_icmp{six}": Admission(group, (far, near, "icmp_type")),
        f"{direction}_accept_protocol{six}": Admission(group, (far, near, "protocol")),
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
    **_rules("ingress", "6"),
    **_rules("egress", "6"),
}


@per_sections("interfaces", "firewall")
def admitted(document: RouterDocument) -> tuple[Admitted, ...]:
    """What needs no rule: by a policy, or because the rules are not about it."""
    found = []
    if document.firewall.ingress.policy == "accept":
        found += [Admitted("ingress"), Admitted("ingress6")]
    for network in guest_networks(document):
        # A guest that asks for a public address of ours meets no ingress rule.
        found.append(Admitted("ingress", "source", network.cidr))
        found += [Admitted("ingress6", "source", cidr) for cidr in network.cidrs6]
        egress = document.firewall.egress.get(network.link)
        if egress is not None and egress.policy == "accept":
            found.append(Admitted("egress", "source", network.cidr))
            found += [Admitted("egress6", "source", cidr) for cidr in network.cidrs6]
    return tuple(found)
