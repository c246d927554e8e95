"""Interfaces: cards, addresses, gateways, and the guest networks they make."""

import ipaddress
from collections.abc import Iterator

from appliance.document import Interface
from appliance.model import Problem, pointer
from router.document import RouterDocument
from router.network import GUEST, PRIVATE, PUBLIC, SYNC, guest_networks


def problems(document: RouterDocument) -> Iterator[Problem]:
    macs: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for link, interface in document.interfaces.items():
        at = ("interfaces", link)
        if not link.startswith((GUEST, PUBLIC, PRIVATE, SYNC)):
            yield Problem(
                pointer(*at),
                f"Interface {link}: a router has guest, public, private and sync interfaces (guest0, ...); "
                "the control interface comes with boot data",
            )
        if other := macs.get(interface.mac):
            yield Problem(
                pointer(*at, "mac"), f"Interface {link}: {interface.mac} is the MAC of {other}, too"
            )
        macs[interface.mac] = link
        for number, text in enumerate(interface.addresses):
            address = text.partition("/")[0]
            if other := addresses.get(address):
                yield Problem(
                    pointer(*at, "addresses", number),
                    f"Interface {link}: {address} is an address of {other}, too",
                )
            addresses[address] = link
        yield from _gateways(link, interface)
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


def _gateways(link: str, interface: Interface) -> Iterator[Problem]:
    own = {address.partition("/")[0] for address in interface.addresses}
    for field in ("gateway", "gateway6"):
        gateway = getattr(interface, field)
        where = pointer("interfaces", link, field)
        if gateway is None:
            continue
        if gateway in own:
            yield Problem(where, f"Interface {link}: gateway {gateway} is its own address")
        elif not _on_link(gateway, interface.addresses):
            yield Problem(where, f"Interface {link}: gateway {gateway} is on none of its networks")
    if interface.gateway6 and ":" not in interface.gateway6:
        yield Problem(
            pointer("interfaces", link, "gateway6"),
            f"Interface {link}: {interface.gateway6} is no IPv6 address",
        )
    elif interface.gateway and interface.gateway6 and ":" in interface.gateway:
        yield Problem(
            pointer("interfaces", link, "gateway6"),
            f"Interface {link}: {interface.gateway} is IPv6's default gateway already",
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


def _on_link(address: str, addresses: list[str]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_interface(own).network for own in addresses)
