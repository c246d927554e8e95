"""Guests of the metadata service."""

from collections.abc import Iterator

from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import RouterDocument
from router.metadata import addresses, with_reservations
from router.network import GuestNetwork, guest_networks
from router.validation.repeated import repeated


def problems(document: RouterDocument) -> Iterator[Problem]:
    for network in guest_networks(document):
        section = document.metadata.get(network.link)
        if section is None:
            continue
        found = addresses(with_reservations(network.link, section, document.dhcp.get(network.link)))
        yield from filter(None, _guests(found, network).values())
        for mac, other, address in repeated({mac: item for mac, item in found.items() if item is not None}):
            yield Problem(_at(network, mac), f"Metadata of {mac}: {address} is {other}'s, too")


@per_key
def _guests(mac: str, address: str | None, network: GuestNetwork) -> Problem | None:
    if address is None:
        return Problem(
            _at(network, mac), f"Metadata of {mac}: it has neither an address of its own nor a reservation"
        )
    if not network.serves(address):
        return Problem(
            _at(network, mac), f"Metadata of {mac}: {address} is no address for a guest of {network.link}"
        )
    return None


def _at(network: GuestNetwork, mac: str) -> str:
    return pointer("metadata", network.link, "guests", mac, "address")
