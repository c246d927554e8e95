"""Interfaces with their addresses, default gateways and static routes."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping

from appliance.checks import Check, LinkCheck
from appliance.document import Document, Interface
from appliance.resources import Address, Link, ReceiveQueues, Resource, Route


def resources(document: Document) -> Iterator[Resource]:
    preferred: Counter[str] = Counter()
    for name, interface in sorted(document.interfaces.items()):
        yield Link(name=name, mac=interface.mac, mtu=interface.mtu)
        yield ReceiveQueues(link=name)
        for address in interface.addresses:
            yield Address(link=name, address=address)
        for gateway in interface.gateways:
            anywhere = default_route(gateway)
            rank = preferred[anywhere]
            # No metric is 1024 in IPv6, and the best in IPv4.
            metric = rank + 1024 if rank and ":" in gateway else rank
            yield Route(destination=anywhere, gateway=gateway, link=name, metric=metric)
            preferred[anywhere] += 1
    for route in document.routes.values():
        yield Route(
            destination=route.destination,
            gateway=route.gateway,
            link=link_towards(route.gateway, document.interfaces),
            metric=route.metric,
        )


def default_route(gateway: str) -> str:
    """The destination of what goes by a default gateway."""
    return "::/0" if ":" in gateway else "0.0.0.0/0"


def link_towards(address: str, interfaces: Mapping[str, Interface]) -> str | None:
    """The interface on whose network an address is."""
    ip = ipaddress.ip_address(address)
    for name, interface in interfaces.items():
        if any(ip in ipaddress.ip_interface(own).network for own in interface.addresses):
            return name
    return None


def checks(document: Document) -> Iterator[Check]:
    for name in document.interfaces:
        yield LinkCheck(name=f"link {name}", link=name)
