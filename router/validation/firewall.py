"""Firewall rules."""

import ipaddress
from collections.abc import Iterator

from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import EgressRule, FirewallRule, IngressRule, RouterDocument
from router.network import GuestNetwork, guest_networks, public_addresses


def problems(document: RouterDocument) -> Iterator[Problem]:
    public = frozenset(public_addresses(document))
    for found in filter(None, _ingress(document.firewall.ingress.rules, public).values()):
        yield from found
    for network in guest_networks(document):
        egress = document.firewall.egress.get(network.link)
        if egress is not None:
            for found in filter(None, _egress(egress.rules, network).values()):
                yield from found


@per_key
def _ingress(name: str, rule: IngressRule, public: frozenset[str]) -> tuple[Problem, ...]:
    at = ("firewall", "ingress", "rules", name)
    found = list(_match(name, rule, *at))
    if rule.address not in public:
        where = pointer(*at, "address")
        found.append(
            Problem(where, f"Firewall rule {name}: {rule.address} is no address of a public interface")
        )
    return tuple(found)


@per_key
def _egress(name: str, rule: EgressRule, network: GuestNetwork) -> tuple[Problem, ...]:
    at = ("firewall", "egress", network.link, "rules", name)
    found = list(_match(name, rule, *at))
    whole = ipaddress.IPv4Network(network.cidr)
    for number, cidr in enumerate(rule.source_cidrs):
        if not ipaddress.IPv4Network(cidr).subnet_of(whole):
            where = pointer(*at, "source_cidrs", number)
            what = f"source {cidr} is not within {network.cidr} of {network.link}"
            found.append(Problem(where, f"Firewall rule {name}: {what}"))
    return tuple(found)


def _match(name: str, rule: FirewallRule, *at: str) -> Iterator[Problem]:
    if rule.ports is not None and rule.protocol not in ("tcp", "udp"):
        yield Problem(pointer(*at, "ports"), f"Firewall rule {name}: only tcp and udp have ports")
    if rule.icmp_type is not None and rule.protocol != "icmp":
        yield Problem(pointer(*at, "icmp_type"), f"Firewall rule {name}: only icmp has types")
