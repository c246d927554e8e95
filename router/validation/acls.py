"""Access lists, and what they are for: tiers and private gateways."""

from collections.abc import Iterator

from appliance.memo import per_key
from appliance.model import Problem, pointer
from router import acl
from router.document import Acl, AclRule, RouterDocument
from router.network import PRIVATE, guest_networks

_MOST_LAYERS = 64


def problems(document: RouterDocument) -> Iterator[Problem]:
    for name, rules in document.acls.items():
        yield from _rules(rules, name)
    for direction in acl.directions(document):
        if direction.depth > _MOST_LAYERS:
            name = direction.acl
            yield Problem(
                pointer("acls", name, "rules"),
                f"Access list {name}: more than {_MOST_LAYERS} of its rules overlap one another, "
                "each of them in part only",
            )
    yield from _tiers(document)
    yield from _private_gateways(document)


def _tiers(document: RouterDocument) -> Iterator[Problem]:
    links = {network.link for network in guest_networks(document)}
    for link, tier in document.tiers.items():
        if link not in links:
            yield Problem(pointer("tiers", link), f"{link} is no guest interface with an IPv4 address")
        if tier.acl not in document.acls:
            yield Problem(pointer("tiers", link, "acl"), f"Tier {link}: there is no access list {tier.acl}")
        if link in document.firewall.egress:
            yield Problem(
                pointer("firewall", "egress", link),
                f"Tier {link}: its access list {tier.acl} decides what leaves it, the firewall has no say",
            )


def _private_gateways(document: RouterDocument) -> Iterator[Problem]:
    for link, gateway in document.private_gateways.items():
        at = ("private_gateways", link)
        interface = document.interfaces.get(link)
        if interface is None or not link.startswith(PRIVATE):
            yield Problem(pointer(*at), f"{link} is no private interface")
        elif gateway.source_nat and not any(":" not in own for own in interface.addresses):
            yield Problem(
                pointer(*at, "source_nat"), f"Private gateway {link}: it has no IPv4 address to go out with"
            )
        if gateway.acl is not None and gateway.acl not in document.acls:
            yield Problem(
                pointer(*at, "acl"), f"Private gateway {link}: there is no access list {gateway.acl}"
            )


def _rules(rules: Acl, name: str) -> Iterator[Problem]:
    for found in filter(None, _each(rules.rules, name).values()):
        yield from found
    numbers = _numbers(rules.rules)
    if len(set(numbers.values())) == len(numbers):
        return
    holders: dict[tuple[str, int], str] = {}
    for key, place in numbers.items():
        if other := holders.get(place):
            direction, number = place
            at = ("acls", name, "rules", key)
            yield Problem(
                pointer(*at, "number"), f"{_title(*at)}: number {number} of {direction} is {other}'s, too"
            )
        holders[place] = key


@per_key
def _numbers(name: str, rule: AclRule) -> tuple[str, int]:
    return rule.direction, rule.number


@per_key
def _each(name: str, rule: AclRule, acl: str) -> tuple[Problem, ...]:
    return tuple(_match(rule, "acls", acl, "rules", name))


def _match(rule: AclRule, *at: str) -> Iterator[Problem]:
    title = _title(*at)
    if rule.ports and rule.protocol not in ("tcp", "udp"):
        yield Problem(pointer(*at, "ports"), f"{title}: only tcp and udp have ports")
    if rule.icmp_type is not None and rule.protocol not in ("icmp", "icmpv6"):
        yield Problem(pointer(*at, "icmp_type"), f"{title}: only icmp and icmpv6 have types")
    if rule.icmp_code is not None and rule.icmp_type is None:
        yield Problem(pointer(*at, "icmp_code"), f"{title}: a code is of a type, and none is given")
    foreign = {"icmp": ":", "icmpv6": "."}.get(str(rule.protocol), "")
    for number, cidr in enumerate(rule.cidrs):
        if foreign and foreign in cidr:
            yield Problem(pointer(*at, "cidrs", number), f"{title}: {rule.protocol} has no part in {cidr}")


def _title(*at: str) -> str:
    return f"Access list {at[1]}, rule {at[3]}"
