"""A router's part in a redundant pair."""

import ipaddress
from collections.abc import Iterator

from appliance.model import Problem, pointer
from router.document import Redundancy, RouterDocument
from router.network import GUEST, SYNC

_MOST_GUEST_LINKS = 1000
_CONSTANT = ipaddress.IPv4Network("169.254.255.0/24")
"""Where an advert's one address is from; see templates/keepalived."""


def problems(document: RouterDocument) -> Iterator[Problem]:
    redundancy = document.redundancy
    if redundancy is None:
        return
    if redundancy.peer == document.name:
        yield Problem("/redundancy/peer", f"Redundancy: {redundancy.peer} is this router itself")
    yield from _sync(document, redundancy)
    yield from _paths(document, redundancy)
    if redundancy.multicast is not None and not _is_path(document, redundancy, redundancy.multicast):
        yield Problem(
            "/redundancy/multicast", f"Redundancy: {redundancy.multicast}, for multicast adverts, is no path"
        )
    yield from _path_network(document, redundancy)
    for link, interface in document.interfaces.items():
        if link.startswith(SYNC) and interface.addresses:
            yield Problem(
                pointer("interfaces", link, "addresses", 0),
                f"Interface {link}: its addresses are its path's, in the redundancy section",
            )


def _is_path(document: RouterDocument, redundancy: Redundancy, link: str) -> bool:
    return link in redundancy.paths or (link.startswith(GUEST) and link in document.interfaces)


def _sync(document: RouterDocument, redundancy: Redundancy) -> Iterator[Problem]:
    sync = redundancy.sync
    if not sync.startswith(SYNC):
        yield Problem(
            "/redundancy/sync", f"Redundancy: {sync} is no link of its own for the two (sync0, ...)"
        )
    elif sync not in document.interfaces:
        yield Problem("/redundancy/sync", f"Redundancy: there is no interface {sync}")
    elif sync not in redundancy.paths:
        yield Problem("/redundancy/paths", f"Redundancy: {sync} is no path, so nobody knows its addresses")


def _paths(document: RouterDocument, redundancy: Redundancy) -> Iterator[Problem]:
    used: dict[str, str] = {}
    networks = {
        (link, ipaddress.ip_interface(address).network): None
        for link, interface in document.interfaces.items()
        for address in interface.addresses
    }
    versions = {ipaddress.ip_interface(path.address).version for path in redundancy.paths.values()}
    if len(versions) > 1:
        yield Problem("/redundancy/paths", "Redundancy: some paths have IPv4 addresses, others IPv6")
    for link, path in redundancy.paths.items():
        at = ("redundancy", "paths", link)
        own = ipaddress.ip_interface(path.address)
        if link not in document.interfaces:
            yield Problem(pointer(*at), f"Path {link}: there is no such interface")
        if path.peer == str(own.ip):
            yield Problem(pointer(*at, "peer"), f"Path {link}: {path.peer} is its own address")
        elif ipaddress.ip_address(path.peer) not in own.network:
            yield Problem(pointer(*at, "peer"), f"Path {link}: {path.peer} is not within {own.network}")
        for other, network in networks:
            if network.version == own.version and network.overlaps(own.network):
                yield Problem(
                    pointer(*at, "address"),
                    f"Path {link}: {own.network} overlaps {network} of {other}, whose addresses move",
                )
        for address in sorted({str(own.ip), path.peer}):
            if holder := used.get(address):
                yield Problem(pointer(*at), f"Path {link}: {address} is on path {holder}, too")
            used[address] = link


def _path_network(document: RouterDocument, redundancy: Redundancy) -> Iterator[Problem]:
    network = ipaddress.IPv4Network(redundancy.path_network)
    if network.num_addresses < 2 * _MOST_GUEST_LINKS:
        yield Problem("/redundancy/path_network", f"Redundancy: {network} is too small, a /21 at least")
    taken = [
        *((f"interface {link}", address)
          for link, interface in document.interfaces.items() for address in interface.addresses),
        *((f"path {link}", path.address) for link, path in redundancy.paths.items()),
    ]  # fmt: skip
    overlapped = (
        (holder, address)
        for holder, address in taken
        if ":" not in address and ipaddress.IPv4Interface(address).network.overlaps(network)
    )
    if found := next(overlapped, None):
        holder, address = found
        what = f"{network}, of paths, overlaps {address} of {holder}"
        yield Problem("/redundancy/path_network", f"Redundancy: {what}")
    if network.overlaps(_CONSTANT):
        yield Problem("/redundancy/path_network", f"Redundancy: {network} overlaps {_CONSTANT}, VRRP's own")
