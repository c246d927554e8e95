"""What may pass between tunnels and networks: pairs of networks, as elements of nft sets."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from router import remote_access
from router.document import RouterDocument
from router.elements import Box, Elements, Span, union
from router.ipsec import SHARED_LINK, pairs


@dataclass(frozen=True)
class TunnelFilter:
    """What the packet filter's structure says of tunnels: their links, and whose addresses are behind each
    one that isn't told apart by its negotiated subnets."""

    links: tuple[str, ...]
    behind: dict[str, list[str]]
    full_tunnel: bool
    """Whether remote users reach the internet through the router."""


def tunnel_filter(document: RouterDocument) -> TunnelFilter | None:
    """None where the document has no tunnels."""
    if not document.ipsec and document.remote_access is None:
        return None
    own = {tunnel.link: tunnel for tunnel in document.ipsec.values() if tunnel.link is not None}
    access = document.remote_access
    return TunnelFilter(
        links=(SHARED_LINK, *sorted(own)),
        behind={link: _collapsed(tunnel.remote_subnets, version=4) for link, tunnel in sorted(own.items())},
        full_tunnel=access is not None and access.full_tunnel,
    )


def elements(document: RouterDocument) -> Elements:
    """`tunnel_pairs` are (network here, network there); `tunnel_users` are the addresses of remote users who
    may go out to the internet, `tunnel_source_nat` what they go out with."""
    if tunnel_filter(document) is None:
        return {}
    found: Elements = {
        f"{name}{version}": {} for name in ("tunnel_pairs", "tunnel_users") for version in (4, 6)
    }
    found["tunnel_source_nat"] = {}
    for version, size in ((4, 32), (6, 128)):
        for box in union(_boxes(document, version)):
            key = " . ".join(_text(span, size) for span in box)
            found[f"tunnel_pairs{version}"][key] = None
    access = document.remote_access
    if access is not None and access.full_tunnel:
        for network in access.pool:
            found[f"tunnel_users{6 if ':' in network else 4}"][_listed(network)] = None
            if access.source_nat is not None and ":" not in network:
                found["tunnel_source_nat"][_listed(network)] = access.source_nat
    return found


def _boxes(document: RouterDocument, version: int) -> Iterator[Box]:
    found = [
        pair
        for tunnel in document.ipsec.values()
        for pair in pairs(tunnel.local_subnets, tunnel.remote_subnets)
    ]
    access = document.remote_access
    if access is not None:
        found += pairs(remote_access.subnets(document, access), access.pool)
    for pair in found:
        if (":" in pair[0]) == (version == 6):
            yield tuple(_span(network) for network in pair)


def _span(text: str) -> Span:
    network = ipaddress.ip_network(text)
    return int(network.network_address), int(network.broadcast_address)


def _text(span: Span, size: int) -> str:
    """A span of addresses of so many bits as nft lists it: address, prefix, or range."""
    first, last = span
    made = ipaddress.IPv4Address if size == 32 else ipaddress.IPv6Address
    length = last - first + 1
    if length == 1:
        return str(made(first))
    if length & (length - 1) == 0 and first % length == 0:
        return f"{made(first)}/{size - length.bit_length() + 1}"
    return f"{made(first)}-{made(last)}"


def _listed(network: str) -> str:
    return _text(_span(network), 128 if ":" in network else 32)


def _collapsed(networks: Iterable[str], *, version: int) -> list[str]:
    parsed = [ipaddress.IPv4Network(text) for text in networks if ":" not in text]
    return [str(network) for network in ipaddress.collapse_addresses(parsed)]
