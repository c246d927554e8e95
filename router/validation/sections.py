"""Sections keyed by guest network."""

from collections.abc import Iterator, Mapping

from appliance.model import Problem, pointer
from router.document import RouterDocument
from router.network import guest_networks


def problems(document: RouterDocument) -> Iterator[Problem]:
    links = {network.link for network in guest_networks(document)}
    sections: dict[tuple[str, ...], Mapping[str, object]] = {
        ("dhcp",): document.dhcp,
        ("dns",): document.dns,
        ("source_nat",): document.source_nat,
        ("firewall", "egress"): document.firewall.egress,
        ("metadata",): document.metadata,
    }
    for section, items in sections.items():
        for link in items:
            if link not in links:
                yield Problem(pointer(*section, link), f"{link} is no guest interface with an IPv4 address")
