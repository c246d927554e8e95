"""Interfaces: cards, addresses, gateways, and the guest networks they make."""

import ipaddress
from collections.abc import Iterator

from appliance.model import Problem, pointer
from appliance.validation import interfaces
from router.document import RouterDocument
from router.network import GUEST, PRIVATE, PUBLIC, SYNC, guest_networks


def problems(document: RouterDocument) -> Iterator[Problem]:
    for link in document.interfaces:
        if not link.startswith((GUEST, PUBLIC, PRIVATE, SYNC)):
            yield Problem(
                pointer("interfaces", link),
                f"Interface {link}: a router has guest, public, private and sync interfaces (guest0, ...); "
                "the control interface comes with boot data",
            )
    yield from interfaces.problems(document)
    yield from _only_public_ones_are_several(document)
    networks = [(network.link, each) for network in guest_networks(document) for each in network.subnets]
    for number, (link, subnet) in enumerate(networks):
        own = f"{subnet.address}/{subnet.prefix_length}"
        where = pointer("interfaces", link, "addresses", document.interfaces[link].addresses.index(own))
        if not 8 <= subnet.prefix_length <= 30:
            yield Problem(
                where,
                f"Interface {link}: a guest network has a prefix length between 8 and 30",
            )
        for other_link, other_subnet in networks[:number]:
            if ipaddress.IPv4Network(subnet.cidr).overlaps(ipaddress.IPv4Network(other_subnet.cidr)):
                yield Problem(
                    where,
                    f"Interface {link}: {subnet.cidr} overlaps {other_subnet.cidr} of {other_link}",
                )


def _only_public_ones_are_several(document: RouterDocument) -> Iterator[Problem]:
    ways = [link for link, interface in document.interfaces.items() if interface.gateways]
    for link in ways:
        if len(ways) > 1 and not link.startswith(PUBLIC):
            other = next(way for way in ways if way != link)
            yield Problem(
                pointer("interfaces", link, "gateway"),
                f"Interface {link}: {other} has a default gateway already, and only public interfaces "
                "can be several ways out",
            )
