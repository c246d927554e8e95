"""Traffic counters of guest networks, public addresses and guests."""

from collections.abc import Iterator
from functools import lru_cache

from appliance.resources import Counter, Resource
from router.document import RouterDocument
from router.guests import guest_addresses
from router.network import guest_networks, public_addresses


def resources(document: RouterDocument) -> Iterator[Resource]:
    accounting = document.accounting
    if accounting is None:
        return
    if accounting.networks or accounting.guests:
        for network in guest_networks(document):
            yield Counter(kind="network", of=network.link)
    if accounting.addresses:
        for address in public_addresses(document):
            yield Counter(kind="address", of=address)
    if accounting.guests:
        for guest in guest_addresses(document):
            yield _of_guest(guest.address, guest.network)


@lru_cache(100_000)
def _of_guest(address: str, network: str) -> Counter:
    return Counter(kind="guest", of=address, network=network)
