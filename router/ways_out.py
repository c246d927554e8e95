"""Several public interfaces, each a way out with a gateway of its own: what came in by one is answered by
it, and a guest goes out by the one that has the address it goes out with. ip-rule(8)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from appliance.address import ipv4_span
from appliance.memo import per_sections
from appliance.resources import Resource, Rule
from appliance.route import Route
from appliance.services.interfaces import default_route
from router.document import RouterDocument
from router.elements import Elements, span_text
from router.network import guest_networks, public_links

_TABLES = 1000
_NEAR, _MARKED, _OWN = 150, 151, 152
"""Priorities: what is near is found in the main table; then marked packets, then the router's own."""


@dataclass(frozen=True, slots=True)
class WayOut:
    link: str
    number: int
    """The connection mark, and the routing table."""


@per_sections("interfaces")
def ways_out(document: RouterDocument) -> tuple[WayOut, ...]:
    """None unless there are several: one is the main table's default route."""
    links = [link for link in public_links(document) if document.interfaces[link].gateways]
    if len(links) < 2:
        return ()
    return tuple(WayOut(link, _TABLES + int(link.lstrip("abcdefghijklmnopqrstuvwxyz"))) for link in links)


def resources(document: RouterDocument) -> Iterator[Resource]:
    ways = ways_out(document)
    for version in _versions(document) if ways else ():
        yield Rule(priority=_NEAR, table=254, suppress_prefix_length=0, version=version)
        for way in ways:
            yield Rule(priority=_MARKED, table=way.number, mark=way.number, version=version)
    for way in ways:
        interface = document.interfaces[way.link]
        for gateway in interface.gateways:
            anywhere = default_route(gateway)
            yield Route(destination=anywhere, gateway=gateway, link=way.link, table=way.number)
            for text in interface.addresses:
                address = text.partition("/")[0]
                if (":" in address) == (":" in gateway):
                    length = 128 if ":" in address else 32
                    yield Rule(priority=_OWN, table=way.number, source=f"{address}/{length}")


def elements(document: RouterDocument) -> Elements:
    """By source address, the way out that has the address it goes out with."""
    numbers = {
        text.partition("/")[0]: way.number
        for way in ways_out(document)
        for text in document.interfaces[way.link].addresses
    }
    networks = {network.link: network for network in guest_networks(document)}
    found: dict[str, str | None] = {}
    if numbers:
        for link, nat in document.source_nat.items():
            if nat.address in numbers:
                for cidr in networks[link].cidrs:
                    found[span_text(*ipv4_span(cidr))] = str(numbers[nat.address])
    own = {
        static.target: str(numbers[address])
        for address, static in document.static_nat.items()
        if address in numbers
    }
    return {"way_out": found, "way_out_static": dict(own)}


def _versions(document: RouterDocument) -> list[Literal[4, 6]]:
    gateways = [gateway for way in ways_out(document) for gateway in document.interfaces[way.link].gateways]
    versions: list[Literal[4, 6]] = [4] if any(":" not in gateway for gateway in gateways) else []
    return [*versions, 6] if any(":" in gateway for gateway in gateways) else versions
