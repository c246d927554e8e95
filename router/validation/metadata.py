"""Guests of the metadata service."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router.document import RouterDocument
from router.metadata import place
from router.network import guest_networks


def problems(document: RouterDocument) -> Iterator[Problem]:
    for network in guest_networks(document):
        section = document.metadata.get(network.link)
        if section is None:
            continue
        dhcp_network = document.dhcp.get(network.link)
        addresses: dict[str, str] = {}
        for mac, guest in section.guests.items():
            at = ("metadata", network.link, "guests", mac)
            try:
                address, _ = place(guest, mac, dhcp_network)
            except LookupError:
                yield Problem(
                    pointer(*at),
                    f"Metadata of {mac}: it has neither an address of its own nor a reservation",
                )
                continue
            where = pointer(*at, "address") if guest.address else pointer(*at)
            if not network.serves(address):
                yield Problem(
                    where,
                    f"Metadata of {mac}: {address} is no address for a guest of {network.link}",
                )
            if other := addresses.get(address):
                yield Problem(where, f"Metadata of {mac}: {address} is {other}'s, too")
            addresses[address] = mac
