"""Traffic counters of guest networks, public addresses and guests."""

from collections.abc import Iterator

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
            yield Counter(kind="guest", of=guest.address, network=guest.network)
