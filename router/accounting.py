"""Traffic counters of guest networks and public addresses."""

from collections.abc import Iterator

from appliance.resources import Counter, Resource
from router.document import RouterDocument
from router.network import guest_networks, public_addresses


def resources(document: RouterDocument) -> Iterator[Resource]:
    accounting = document.accounting
    if accounting is None:
        return
    if accounting.networks:
        for network in guest_networks(document):
            yield Counter(kind="network", of=network.link)
    if accounting.addresses:
        for address in public_addresses(document):
            yield Counter(kind="address", of=address)
