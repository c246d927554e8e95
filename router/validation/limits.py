"""Limits: of guests, networks and public addresses that are there."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router import shaping
from router.document import RouterDocument
from router.guests import addresses_of, is_address, network_of
from router.network import guest_networks, public_links


def problems(document: RouterDocument) -> Iterator[Problem]:
    networks = list(guest_networks(document))
    links = {network.link for network in networks}
    named: dict[str, str] = {}
    for key in document.limits.guests:
        at = pointer("limits", "guests", key)
        addresses = [key] if is_address(key) else addresses_of(key, document)
        if not addresses:
            yield Problem(at, f"Limit of guest {key}: it has neither a reservation nor metadata")
        elif is_address(key) and network_of(key, document, networks) is None:
            yield Problem(at, f"Limit of guest {key}: the address is on no guest network")
        for address in addresses:
            if other := named.get(address):
                yield Problem(at, f"Limit of guest {key}: {address} has that of {other}, too")
            named[address] = key
    for link in document.limits.networks:
        if link not in links:
            at = pointer("limits", "networks", link)
            yield Problem(at, f"{link} is no guest interface with an IPv4 address")
    if (many := shaping.count(document)) > shaping.MOST:
        detail = f"{many} rates of guests and addresses are shaped; "
        detail += f"of more than {shaping.MOST}, some must be policed"
        yield Problem(pointer("limits"), detail)
    public = {
        address.partition("/")[0]
        for link in public_links(document)
        for address in document.interfaces[link].addresses
    }
    for address in document.limits.addresses:
        if address not in public:
            at = pointer("limits", "addresses", address)
            yield Problem(at, f"Limit of {address}: it is no address of a public interface")
