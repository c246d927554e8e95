"""Interfaces: cards, addresses and gateways."""

import ipaddress
from collections.abc import Iterator

from appliance.document import Document, Interface
from appliance.model import Problem, pointer


def problems(document: Document) -> Iterator[Problem]:
    """Whatever the interfaces are called: no card and no address twice, and gateways within reach."""
    macs: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for link, interface in document.interfaces.items():
        at = ("interfaces", link)
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


def _on_link(address: str, addresses: list[str]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_interface(own).network for own in addresses)
