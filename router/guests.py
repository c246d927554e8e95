"""Guests as the document names them: by reservations, metadata, and limits of their own."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.memo import Pairs, per_sections
from router.document import Limit, RouterDocument
from router.network import GuestNetwork, guest_networks


@dataclass(frozen=True, slots=True)
class GuestAddress:
    address: str
    network: str
    """The link of its network."""


@per_sections("interfaces", "dhcp", "metadata", "limits")
def guest_addresses(document: RouterDocument) -> tuple[GuestAddress, ...]:
    """Every address that the document says is a guest's, once."""
    found: dict[str, str] = {}
    networks = list(guest_networks(document))
    for network in networks:
        for holders in _named(document, network.link).values():
            found.update(dict.fromkeys(holders, network.link))
    for key in document.limits.guests:
        if is_address(key) and (link := network_of(key, document, networks)):
            found[key] = link
    return tuple(GuestAddress(address, link) for address, link in found.items())


Limited = tuple[Limit, Mapping[str, str] | None]
"""A guest's limit and its addresses, with the link of the network that each is on."""
_PAIRS: Pairs[str, Limit, Mapping[str, str]] = Pairs()
_KEPT: list[Mapping[str, Mapping[str, str]]] = [{}]


def limited(document: RouterDocument) -> Mapping[str, Limited]:
    """Guests with limits; the very same pair as last time where nothing has changed about one."""
    return _PAIRS.of("guests", document.limits.guests, _homes(document))


@per_sections("interfaces", "dhcp", "metadata", "limits")
def _homes(document: RouterDocument) -> Mapping[str, Mapping[str, str]]:
    networks = list(guest_networks(document))
    links = [network.link for network in networks]
    found: dict[str, Mapping[str, str]] = {}
    for key in document.limits.guests:
        if not is_address(key):
            homes = {address: link for link in links for address in _addresses(key, document, link)}
        else:
            home = network_of(key, document, networks)
            homes = {key: home} if home else {}
        before = _KEPT[0].get(key)
        found[key] = before if before == homes else homes
    _KEPT[0] = found
    return found


def is_address(key: str) -> bool:
    """Whether a guest is named by its IP address; else it is by its MAC address."""
    return "." in key or key.count(":") != 5 or "::" in key


def addresses_of(mac: str, document: RouterDocument) -> list[str]:
    """Of a guest by its MAC address, on whichever network."""
    return [
        address
        for network in guest_networks(document)
        for address in _addresses(mac, document, network.link)
    ]


def network_of(address: str, document: RouterDocument, networks: list[GuestNetwork]) -> str | None:
    """The link of the guest network that an address is on."""
    if ":" not in address:
        return next((network.link for network in networks if network.holds(address)), None)
    ip = ipaddress.ip_address(address)
    for network in networks:
        for own in document.interfaces[network.link].addresses:
            if ":" in own and ip in ipaddress.ip_interface(own).network:
                return network.link
    return None


def _named(document: RouterDocument, link: str) -> Mapping[str, list[str]]:
    section, metadata = document.dhcp.get(link), document.metadata.get(link)
    macs = {**(section.reservations if section else {}), **(metadata.guests if metadata else {})}
    return {mac: _addresses(mac, document, link) for mac in macs}


def _addresses(mac: str, document: RouterDocument, link: str) -> list[str]:
    section, metadata = document.dhcp.get(link), document.metadata.get(link)
    reservation = section.reservations.get(mac) if section else None
    guest = metadata.guests.get(mac) if metadata else None
    if reservation is None and guest is None:
        return []
    reserved, told = reservation and reservation.address, guest and guest.address
    if reserved and told and reserved != told:
        return sorted((reserved, told))
    found = reserved or told
    return [found] if found else []
