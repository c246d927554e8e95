"""Firewall rules."""

from collections.abc import Iterator

from appliance.address import span
from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import EgressRule, FirewallRule, IngressRule, RouterDocument
from router.network import (
    GuestNetwork,
    guest_networks,
    public_addresses,
    public_addresses6,
    routed_networks,
)


def problems(document: RouterDocument) -> Iterator[Problem]:
    public = frozenset([*public_addresses(document), *public_addresses6(document)])
    networks = tuple(guest_networks(document))
    routed = tuple(routed_networks(document))
    for found in filter(None, _ingress(document.firewall.ingress.rules, public, routed).values()):
        yield from found
    for network in networks:
        egress = document.firewall.egress.get(network.link)
        if egress is not None:
            for found in filter(None, _egress(egress.rules, network).values()):
                yield from found


@per_key
def _ingress(
    name: str, rule: IngressRule, public: frozenset[str], routed: tuple[str, ...]
) -> tuple[Problem, ...]:
    at = ("firewall", "ingress", "rules", name)
    found = list(_match(name, rule, *at))
    where = pointer(*at, "address")
    if rule.address not in public and not any(within(rule.address, cidr) for cidr in routed):
        what = f"{rule.address} is no address of a public interface, nor on a guest network"
        more = "" if ":" in rule.address else " without source NAT"
        found.append(Problem(where, f"Firewall rule {name}: {what}{more}"))
    for number, cidr in enumerate(rule.source_cidrs):
        if (":" in cidr) != (":" in rule.address):
            where = pointer(*at, "source_cidrs", number)
            what = f"source {cidr} and address {rule.address} differ in family"
            found.append(Problem(where, f"Firewall rule {name}: {what}"))
    return tuple(found)


@per_key
def _egress(name: str, rule: EgressRule, network: GuestNetwork) -> tuple[Problem, ...]:
    at = ("firewall", "egress", network.link, "rules", name)
    found = list(_match(name, rule, *at))
    own = (*network.cidrs, *network.cidrs6)
    for number, cidr in enumerate(rule.source_cidrs):
        if not any(within(cidr, whole) for whole in own):
            where = pointer(*at, "source_cidrs", number)
            what = f"source {cidr} is not within {' or '.join(own)} of {network.link}"
            found.append(Problem(where, f"Firewall rule {name}: {what}"))
    sources = {":" in cidr for cidr in rule.source_cidrs or own}
    for number, cidr in enumerate(rule.destination_cidrs):
        if (":" in cidr) not in sources:
            where = pointer(*at, "destination_cidrs", number)
            what = f"no source that it is for has an address of {cidr}'s family"
            found.append(Problem(where, f"Firewall rule {name}: {what}"))
    return tuple(found)


def within(inner: str, outer: str) -> bool:
    """Whether a network, or an address, is part of another network."""
    if (":" in inner) != (":" in outer):
        return False
    first, last = span(outer)
    begin, end = span(inner)
    return first <= begin and end <= last


def _match(name: str, rule: FirewallRule, *at: str) -> Iterator[Problem]:
    if rule.ports is not None and rule.protocol not in ("tcp", "udp"):
        yield Problem(pointer(*at, "ports"), f"Firewall rule {name}: only tcp and udp have ports")
    if rule.icmp_type is not None and rule.protocol not in ("icmp", "icmpv6"):
        yield Problem(pointer(*at, "icmp_type"), f"Firewall rule {name}: only icmp and icmpv6 have types")
