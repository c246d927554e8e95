"""Interfaces with their addresses, default gateways and static routes."""

import ipaddress
from collections.abc import Iterator, Mapping

from appliance.checks import Check, LinkCheck
from appliance.document import Document, Interface
from appliance.resources import Address, Link, ReceiveQueues, Resource, Route


def resources(document: Document) -> Iterator[Resource]:
    for name, interface in document.interfaces.items():
        yield Link(name=name, mac=interface.mac, mtu=interface.mtu)
        yield ReceiveQueues(link=name)
        for address in interface.addresses:
            yield Address(link=name, address=address)
        if interface.gateway:
            anywhere = "::/0" if ":" in interface.gateway else "0.0.0.0/0"
            yield Route(destination=anywhere, gateway=interface.gateway, link=name)
    for route in document.routes.values():
        yield Route(
            destination=route.destination,
            gateway=route.gateway,
            link=link_towards(route.gateway, document.interfaces),
            metric=route.metric,
        )


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
