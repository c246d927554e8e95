"""Source NAT and static NAT as elements of nft maps."""

from appliance.address import ipv4_span
from router.document import RouterDocument
from router.elements import Elements, span_text
from router.network import guest_networks


def elements(document: RouterDocument) -> Elements:
    """`source_nat` leads from a guest network to its public address; `routed4` are those that have none.
    `static_nat` leads from public addresses to guests and `static_nat_out` back."""
    networks = {network.link: network for network in guest_networks(document)}
    return {
        "source_nat": {
            span_text(*ipv4_span(cidr)): nat.address
            for link, nat in document.source_nat.items()
            for cidr in networks[link].cidrs
        },
        "routed4": {
            span_text(*ipv4_span(cidr)): None
            for link, network in networks.items()
            if link not in document.source_nat
            for cidr in network.cidrs
        },
        "static_nat": {address: nat.target for address, nat in document.static_nat.items()},
        "static_nat_out": {nat.target: address for address, nat in document.static_nat.items()},
    }
