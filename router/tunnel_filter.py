"""What may pass between tunnels and networks: pairs of networks, as elements of nft sets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from appliance.address import span
from appliance.admission import Users
from appliance.resources import File, Resource
from router import remote_access
from router.document import RouterDocument
from router.elements import Box, Elements, collapsed, parts, span_text
from router.ipsec import SHARED_LINK, pairs

PPP_LINKS = "ppp*"
"""Of users by L2TP, as nft calls them all."""
USER_SETS = ("user_pairs4", "user_pairs6")
REACH = "/run/sysvm/users/reach"
"""Lines of a user's name and networks; `images/router/rootfs/usr/lib/sysvm-router/user-begun` reads them."""


@dataclass(frozen=True)
class TunnelFilter:
    """What the packet filter's structure says of tunnels: their links, and whose addresses are behind each
    one that isn't told apart by its negotiated subnets."""

    links: tuple[str, ...]
    behind: dict[str, list[str]]
    full_tunnel: bool
    """Whether remote users reach the internet through the router."""
    l2tp: str | None
    """The address that is spoken to by L2TP."""
    by_user: bool
    """Whether remote users don't all reach the same, and pass by pairs of their own."""
    pools: tuple[str, ...]
    """That users have addresses of."""


def tunnel_filter(document: RouterDocument) -> TunnelFilter | None:
    """None where the document has no tunnels."""
    if not document.ipsec and document.remote_access is None:
        return None
    own = {tunnel.link: tunnel for tunnel in document.ipsec.values() if tunnel.link is not None}
    access = document.remote_access
    l2tp = access.l2tp.address if access is not None and access.l2tp is not None else None
    return TunnelFilter(
        links=(SHARED_LINK, *sorted(own), *([PPP_LINKS] if l2tp else ())),
        behind={
            link: collapsed(subnet for subnet in tunnel.remote_subnets if ":" not in subnet)
            for link, tunnel in sorted(own.items())
        },
        full_tunnel=access is not None and access.full_tunnel,
        l2tp=l2tp,
        by_user=access is not None and remote_access.by_user(access),
        pools=tuple(remote_access.pools(access)) if access is not None else (),
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
    for version in (4, 6):
        for box, _ in parts(_boxes(document, version)):
            key = " . ".join(span_text(*each, version) for each in box)
            found[f"tunnel_pairs{version}"][key] = None
    access = document.remote_access
    if access is not None and access.full_tunnel:
        for network in remote_access.pools(access):
            version = 6 if ":" in network else 4
            users = span_text(*span(network), version)
            found[f"tunnel_users{version}"][users] = None
            if access.source_nat is not None and version == 4:
                found["tunnel_source_nat"][users] = access.source_nat
    return found


def _boxes(document: RouterDocument, version: int) -> Iterator[Box]:
    found = [
        pair
        for tunnel in document.ipsec.values()
        for pair in pairs(tunnel.local_subnets, tunnel.remote_subnets)
    ]
    access = document.remote_access
    # Where users differ in what they reach, those of each are there as he is.
    if access is not None and not remote_access.by_user(access):
        found += pairs(remote_access.subnets(document, access), remote_access.pools(access))
    for pair in found:
        if (":" in pair[0]) == (version == 6):
            yield tuple(map(span, pair))


def users(document: RouterDocument) -> Users | None:
    """None where all of them reach the same."""
    access = document.remote_access
    if access is None or not remote_access.by_user(access):
        return None
    # Of many users few differ.
    listed: dict[tuple[str, ...], tuple[str, ...]] = {}
    reached = {}
    for name, user in access.users.items():
        networks = tuple(remote_access.reached(document, access, user))
        if networks not in listed:
            listed[networks] = tuple(_texts(networks))
        reached[name] = listed[networks]
    return Users(sets=USER_SETS, reached=reached)


def _texts(networks: Iterable[str]) -> Iterator[str]:
    """Without overlap, as nft lists them."""
    networks = list(networks)
    for version in (4, 6):
        for network in collapsed(each for each in networks if (":" in each) == (version == 6)):
            yield span_text(*span(network), version)


def resources(document: RouterDocument) -> Iterator[Resource]:
    """What the script reads that a user's session begins with."""
    if (found := users(document)) is not None:
        lines = "".join(f"{name} {' '.join(networks)}\n" for name, networks in found.reached.items())
        yield File(path=REACH, content=lines, mode=0o600)
