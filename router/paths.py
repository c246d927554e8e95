"""Paths: the links by which the two routers of a pair hear one another, with their own addresses on them."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from appliance.memo import per_sections
from router.document import Redundancy, RouterDocument
from router.network import GUEST


@dataclass(frozen=True, slots=True)
class PathAddresses:
    own: str
    """With its prefix length."""
    peer: str
    source: str
    """What the other router's adverts come from, whichever path they take: its address on the sync link, or
    on the one path of multicast adverts."""

    @property
    def address(self) -> str:
        return self.own.partition("/")[0]


NO_PATHS: Mapping[str, PathAddresses] = MappingProxyType({})


@per_sections("interfaces", "redundancy")
def paths(document: RouterDocument) -> Mapping[str, PathAddresses]:
    """By link; none of a router that is alone."""
    redundancy = document.redundancy
    if redundancy is None or redundancy.sync not in redundancy.paths:
        return NO_PATHS
    found = {
        **dict(_derived(document, redundancy)),
        **{link: (path.address, path.peer) for link, path in redundancy.paths.items()},
    }
    _, source = found.get(redundancy.multicast or redundancy.sync, ("", ""))
    return MappingProxyType(
        {
            link: PathAddresses(own=own, peer=peer, source=source)
            for link, (own, peer) in sorted(found.items())
        }
    )


def _derived(document: RouterDocument, redundancy: Redundancy) -> Iterator[tuple[str, tuple[str, str]]]:
    """Guest links are the pair's alone, so nobody need choose addresses: the link's number says which /31
    (RFC 3021) of the network, and who has the lower address on the sync link has the lower one there."""
    sync = redundancy.paths[redundancy.sync]
    own, peer = (ipaddress.ip_address(text.partition("/")[0]) for text in (sync.address, sync.peer))
    if own.version != peer.version or own.version != 4:
        return
    side = int(own > peer)  # type: ignore[operator]
    first = int(ipaddress.IPv4Network(redundancy.path_network).network_address)
    for link in document.interfaces:
        if link.startswith(GUEST) and link not in redundancy.paths:
            base = first + 2 * int(link.removeprefix(GUEST))
            address, other = (ipaddress.IPv4Address(base + number) for number in (side, 1 - side))
            yield link, (f"{address}/31", str(other))
