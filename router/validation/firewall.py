"""Firewall rules."""

import ipaddress
from collections.abc import Iterator

from appliance.model import Problem, pointer
from router.document import Egress, FirewallRule, RouterDocument
from router.network import GuestNetwork, guest_networks, public_addresses


def problems(document: RouterDocument) -> Iterator[Problem]:
    public = set(public_addresses(document))
    for name, rule in document.firewall.ingress.rules.items():
        at = ("firewall", "ingress", "rules", name)
        if rule.address not in public:
            yield Problem(
                pointer(*at, "address"),
                f"Firewall rule {name}: {rule.address} is no address of a public interface",
            )
        if rule.ports is not None or rule.icmp_type is not None:
            yield from _match(name, rule, *at)
    networks = {network.link: network for network in guest_networks(document)}
    for link, egress in document.firewall.egress.items():
        if link in networks:
            yield from _egress(egress, networks[link])


def _egress(egress: Egress, network: GuestNetwork) -> Iterator[Problem]:
    whole = ipaddress.IPv4Network(network.cidr)
    for name, rule in egress.rules.items():
        at = ("firewall", "egress", network.link, "rules", name)
        yield from _match(name, rule, *at)
        for number, cidr in enumerate(rule.source_cidrs):
            if not ipaddress.IPv4Network(cidr).subnet_of(whole):
                yield Problem(
                    pointer(*at, "source_cidrs", number),
                    f"Firewall rule {name}: source {cidr} is not within {network.cidr} of {network.link}",
                )


def _match(name: str, rule: FirewallRule, *at: str) -> Iterator[Problem]:
    if rule.ports is not None and rule.protocol not in ("tcp", "udp"):
        yield Problem(pointer(*at, "ports"), f"Firewall rule {name}: only tcp and udp have ports")
    if rule.icmp_type is not None and rule.protocol != "icmp":
        yield Problem(pointer(*at, "icmp_type"), f"Firewall rule {name}: only icmp has types")
