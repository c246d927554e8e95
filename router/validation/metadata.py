"""Guests of the metadata service."""

from collections.abc import Iterator

from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import GuestMetadata, RouterDocument
from router.metadata import Guest, addresses, with_reservations
from router.network import GuestNetwork, guest_networks
from router.validation.repeated import repeated


def problems(document: RouterDocument) -> Iterator[Problem]:
    for network in guest_networks(document):
        section = document.metadata.get(network.link)
        if section is None:
            continue
        guests = with_reservations(network.link, section, document.dhcp.get(network.link))
        found = addresses(guests)
        yield from filter(None, _guests(guests, network).values())
        for mac, other, address in repeated({mac: item for mac, item in found.items() if item is not None}):
            yield Problem(
                _at(network, mac, section.guests[mac]), f"Metadata of {mac}: {address} is {other}'s, too"
            )


@per_key
def _guests(mac: str, item: Guest, network: GuestNetwork) -> Problem | None:
    guest, reservation = item
    address = guest.address or (reservation.address if reservation else None)
    if address is None:
        return Problem(
            _at(network, mac, guest),
            f"Metadata of {mac}: it has neither an address of its own nor a reservation",
        )
    if not network.serves(address):
        return Problem(
            _at(network, mac, guest),
            f"Metadata of {mac}: {address} is no address for a guest of {network.link}",
        )
    return None


def _at(network: GuestNetwork, mac: str, guest: GuestMetadata) -> str:
    """The address that is wrong; of a guest that says none, the guest."""
    at = ("metadata", network.link, "guests", mac)
    return pointer(*at, "address") if guest.address else pointer(*at)
