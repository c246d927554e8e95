"""Interfaces: cards, addresses, gateways, and the guest networks they make."""

import ipaddress
from collections.abc import Iterator

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
        if interface.gateway in {address.partition("/")[0] for address in interface.addresses}:
            yield Problem(
                pointer(*at, "gateway"), f"Interface {link}: gateway {interface.gateway} is its own address"
            )
        elif interface.gateway and not _on_link(interface.gateway, interface.addresses):
            yield Problem(
                pointer(*at, "gateway"),
                f"Interface {link}: gateway {interface.gateway} is on none of its networks",
            )
    gateways = [link for link, interface in document.interfaces.items() if interface.gateway]
    for link in gateways[1:]:
        yield Problem(
            pointer("interfaces", link, "gateway"),
            f"Interface {link}: {gateways[0]} has the default gateway already",
        )
    networks = list(guest_networks(document))
    for number, network in enumerate(networks):
        own = f"{network.address}/{network.prefix_length}"
        place = document.interfaces[network.link].addresses.index(own)
        where = pointer("interfaces", network.link, "addresses", place)
        if not 8 <= network.prefix_length <= 30:
            yield Problem(
                where,
                f"Interface {network.link}: a guest network has a prefix length between 8 and 30",
            )
        for other_network in networks[:number]:
            if ipaddress.IPv4Network(network.cidr).overlaps(ipaddress.IPv4Network(other_network.cidr)):
                yield Problem(
                    where,
                    f"Interface {network.link}: {network.cidr} overlaps {other_network.cidr} of "
                    f"{other_network.link}",
                )


def _on_link(address: str, addresses: list[str]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_interface(own).network for own in addresses)
