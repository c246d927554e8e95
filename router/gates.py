"""Where connections meet access lists, in conntrack's terms: what a changed list lets in no more is to end.

The forward chain asks for a list by the link that a packet comes from and goes to. Conntrack knows no links,
so it is told here which networks are behind which.
"""

import ipaddress
from collections.abc import Iterator, Mapping

from appliance.memo import per_sections
from appliance.resources import Gate
from appliance.services.interfaces import link_towards
from router import acl, wireguard
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


@per_sections(
    "interfaces", "routes", "tiers", "private_gateways", "acls", "wireguard", "ipsec", "remote_access"
)
def gates(document: RouterDocument) -> tuple[Gate, ...]:
    if not document.tiers and not document.private_gateways:
        return ()
    return tuple(_gates(document))


def _gates(document: RouterDocument) -> Iterator[Gate]:
    passage = forwarding(document)
    lists = {direction.chain: direction for direction in acl.directions(document)}
    behind = {link: list(networks) for link, networks in _behind(document).items()}
    own = tuple(sorted(_own(document)))
    for end, chains in (("source", passage.leaving), ("reply_source", passage.arriving)):
        for link, chain in chains.items():
            for version in _VERSIONS:
                networks = _of(version, behind.get(link, []))
                others = [
                    text for other, texts in behind.items() if other != link for text in _of(version, texts)
                ]
                if networks:
                    yield _gate(lists[chain], f"{end} {link} {version}", end, version, networks,
                                _within(others, networks), own)  # fmt: skip


def _gate(
    direction: Direction, name: str, end: str, version: int, networks: list[str], apart: list[str],
    own: tuple[str, ...],
) -> Gate:  # fmt: skip
    accepting = {logged.chain for logged in direction.logged if logged.verdict == acl.VERDICTS["accept"]}
    return Gate(
        name=name,
        version=version,
        end="source" if end == "source" else "reply_source",
        networks=tuple(networks),
        apart=tuple(apart),
        own=tuple(text for text in own if (":" in text) == (version == 6)),
        lookups=tuple(
            (lookup.map, fields(lookup, ingress=direction.ingress))
            for lookup in direction.lookups
            if lookup.version == version
        ),
        passing=frozenset({acl.VERDICTS["accept"], *(f"goto {chain}" for chain in accepting)}),
        passes=direction.policy == "accept",
    )


def fields(lookup: Lookup, *, ingress: bool) -> tuple[str, ...]:
    """What the fields of a map's elements say of a connection. The far end is who begins it where it comes
    in, and who answers where it goes out."""
    far = "source" if ingress else "reply_source"
    return tuple(far if field == "FAR" else field for field in _END_FIELDS[lookup.match])


def _behind(document: RouterDocument) -> Mapping[str, list[str]]:
    """Networks by the link that leads there."""
    found: dict[str, list[str]] = {}
    for link, interface in document.interfaces.items():
        found[link] = [str(ipaddress.ip_interface(text).network) for text in interface.addresses]
    for route in document.routes.values():
        if (towards := link_towards(route.gateway, document.interfaces)) is not None:
            found[towards].append(route.destination)
    for link, section in document.wireguard.items():
        found[link] = [*map(str, wireguard.pools(section)), *wireguard.behind(section)]
    for tunnel in document.ipsec.values():
        found.setdefault(tunnel.link or SHARED_LINK, []).extend(tunnel.remote_subnets)
    if document.remote_access is not None:
        found.setdefault(SHARED_LINK, []).extend(document.remote_access.pool)
    return found


def _own(document: RouterDocument) -> Iterator[str]:
    yield _METADATA
    everywhere = [item.addresses for item in document.interfaces.values()]
    for addresses in (*everywhere, *(item.addresses for item in document.wireguard.values())):
        for text in addresses:
            yield text.partition("/")[0]


def _of(version: int, networks: list[str]) -> list[str]:
    return [text for text in networks if (":" in text) == (version == 6)]


def _within(others: list[str], networks: list[str]) -> list[str]:
    """Those that are narrower than one of these networks, and so aren't behind the same link."""
    wide = [ipaddress.ip_network(text) for text in networks]
    return sorted(
        {
            text
            for text in others
            for narrow in [ipaddress.ip_network(text)]
            if any(narrow.prefixlen > network.prefixlen and narrow.overlaps(network) for network in wide)
        }
    )
