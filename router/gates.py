"""Where connections meet access lists, in conntrack's terms: what a changed list lets in no more is to end.

The forward chain asks for a list by the link that a packet comes from and goes to. Conntrack knows no links,
so it is told here which networks are behind which.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from appliance.address import span
from appliance.admission import Gate
from appliance.memo import per_sections
from appliance.services.interfaces import links_towards
from router import acl, remote_access, wireguard
from router.acl import Direction, Lookup
from router.document import RouterDocument
from router.forwarding import forwarding
from router.ipsec import SHARED_LINK

_METADATA = "169.254.169.254"
_END_FIELDS = {
    "ports": ("reply_port", "protocol", "FAR"),
    "crowd": ("FAR", "protocol", "reply_port"),
    "icmp": ("FAR", "icmp_type", "icmp_code"),
    "protocol": ("FAR", "protocol"),
}
_VERSIONS = (4, 6)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a list is met: at one end of connections, which is in these networks and not in those."""

    chain: str
    end: Literal["source", "reply_source"]
    link: str
    version: int
    networks: tuple[str, ...]
    apart: tuple[str, ...]
    own: tuple[str, ...]


@per_sections(
    "interfaces", "routes", "tiers", "private_gateways", "acls", "wireguard", "ipsec", "remote_access"
)
def gates(document: RouterDocument) -> tuple[Gate, ...]:
    """None where no network has lists."""
    lists = {direction.chain: direction for direction in acl.directions(document)}
    passing = {chain: _passing(direction) for chain, direction in lists.items()}
    return tuple(
        Gate(
            name=f"{place.end} {place.link} {place.version}",
            version=place.version,
            end=place.end,
            networks=place.networks,
            apart=place.apart,
            own=place.own,
            lookups=tuple(
                (lookup.map, fields(lookup, ingress=lists[place.chain].ingress))
                for lookup in lists[place.chain].lookups
                if lookup.version == place.version
            ),
            passing=passing[place.chain],
            passes=lists[place.chain].policy == "accept",
        )
        for place in _places(document)
    )


def _passing(direction: Direction) -> frozenset[str | None]:
    return frozenset(
        {
            acl.PASSING,
            *(f"goto {logged.chain}" for logged in direction.logged if logged.verdict == acl.PASSING),
        }
    )


@per_sections("interfaces", "routes", "tiers", "private_gateways", "wireguard", "ipsec", "remote_access")
def _places(document: RouterDocument) -> tuple[_Place, ...]:
    if not document.tiers and not document.private_gateways:
        return ()
    return tuple(_found(document))


def _found(document: RouterDocument) -> Iterator[_Place]:
    passage, everywhere, own = forwarding(document), behind(document), sorted(own_addresses(document))
    ends: list[tuple[Literal["source", "reply_source"], dict[str, str]]] = [
        ("source", passage.leaving), ("reply_source", passage.arriving)
    ]  # fmt: skip
    for version in _VERSIONS:
        here = {link: _of(version, networks) for link, networks in everywhere.items()}
        spans = {
            link: [(text, *span(text)) for text in dict.fromkeys(networks)]
            for link, networks in here.items()
        }
        for end, chains in ends:
            for link, chain in chains.items():
                if not (networks := here.get(link, [])):
                    continue
                others = [each for other, each in spans.items() if other != link]
                apart = _within([each for several in others for each in several], spans[link])
                yield _Place(chain, end, link, version, tuple(networks), apart, tuple(_of(version, own)))


def fields(lookup: Lookup, *, ingress: bool) -> tuple[str, ...]:
    """What the fields of a map's elements say of a connection. The far end is who begins it where it comes
    in, and who answers where it goes out."""
    far = "source" if ingress else "reply_source"
    return tuple(far if field == "FAR" else field for field in _END_FIELDS[lookup.match])


def behind(document: RouterDocument) -> Mapping[str, list[str]]:
    """Networks by the link that leads there."""
    found: dict[str, list[str]] = {}
    for link, interface in document.interfaces.items():
        found[link] = [str(ipaddress.ip_interface(text).network) for text in interface.addresses]
    for route in document.routes.values():
        for towards in links_towards(route, document.interfaces):
            found[towards].append(route.destination)
    for link, section in document.wireguard.items():
        found[link] = [*map(str, wireguard.pools(section)), *wireguard.behind(section)]
    for tunnel in document.ipsec.values():
        found.setdefault(tunnel.link or SHARED_LINK, []).extend(tunnel.remote_subnets)
    if document.remote_access is not None:
        found.setdefault(SHARED_LINK, []).extend(remote_access.pools(document.remote_access))
    return found


def own_addresses(document: RouterDocument) -> Iterator[str]:
    yield _METADATA
    everywhere = [item.addresses for item in document.interfaces.values()]
    for addresses in (*everywhere, *(item.addresses for item in document.wireguard.values())):
        for text in addresses:
            yield text.partition("/")[0]


def _of(version: int, networks: Sequence[str]) -> list[str]:
    return [text for text in networks if (":" in text) == (version == 6)]


_Spanned = tuple[str, int, int]
"""A network, its first and its last address."""


def _within(others: list[_Spanned], networks: list[_Spanned]) -> tuple[str, ...]:
    """Those that are narrower than one of these networks, and so aren't behind the same link."""
    return tuple(
        sorted(
            {
                text
                for text, first, last in others
                for _, low, high in networks
                if low <= first and last <= high and (low, high) != (first, last)
            }
        )
    )
