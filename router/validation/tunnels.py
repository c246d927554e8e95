"""Networks behind tunnels of different kinds, and users' pools: no address is in two of them.

Each kind's own module holds its networks against those of interfaces and routes, and against one another;
those of users' pools also against IPsec's tunnels, and L2TP's against all. Here is the rest.
"""

import ipaddress
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from appliance.address import span
from appliance.model import Problem, pointer
from router.document import RouterDocument
from router.wireguard import behind, pools

_Owned = tuple[tuple[int, int, int], str, str]
"""Version, first and last address; the network as it is written; whose it is, in words."""
_Said = tuple[str, str, str]
"""Where a network is said, how a sentence about it begins, and the network."""


def problems(document: RouterDocument) -> Iterator[Problem]:
    ipsec = [*_sites(document), *_users(document)]
    wireguard = list(_wireguard(document))
    yield from _meeting(ipsec, _in_order(_of_wireguard(document)))
    yield from _led_elsewhere(document, wireguard)
    yield from _meeting([*ipsec, *_l2tp(document), *wireguard], _in_order(_of_paths(document)))


def _meeting(said: Sequence[_Said], owned: Sequence[_Owned]) -> Iterator[Problem]:
    """`owned` are in order, and none is within another."""
    if not owned:
        return
    for at, begun, network in said:
        # All addresses are refused where they are said.
        if network.endswith("/0"):
            continue
        version, first, last = _span(network)
        place = bisect_right(owned, (version, last), key=lambda item: item[0][:2])
        (other, _, end), text, whose = owned[place - 1] if place else ((0, 0, 0), "", "")
        if other == version and end >= first:
            yield Problem(at, f"{begun}: {network} overlaps {text} of {whose}")


def _led_elsewhere(document: RouterDocument, said: Sequence[_Said]) -> Iterator[Problem]:
    """Of WireGuard's networks those that a route leads somewhere else, or a part of them: nobody outside of
    a tunnel may send from there. A route that is wider takes nothing from them."""
    routes = sorted((*_span(route.destination), name) for name, route in document.routes.items())
    for at, begun, network in said if routes else ():
        if network.endswith("/0"):
            continue
        version, first, last = _span(network)
        for other, start, end, name in routes[bisect_left(routes, (version, first)) :]:
            if other != version or start > last:
                break
            if end <= last:
                led = document.routes[name].destination
                yield Problem(at, f"{begun}: {network} overlaps {led} of route {name}")
                break


def _in_order(owned: Iterator[_Owned]) -> list[_Owned]:
    """Without those that are within another; of networks none overlaps another in part."""
    found: list[_Owned] = []
    for item in sorted(owned, key=lambda item: (*item[0][:2], -item[0][2])):
        version, first, _ = item[0]
        if not found or found[-1][0][0] != version or found[-1][0][2] < first:
            found.append(item)
    return found


def _sites(document: RouterDocument) -> Iterator[_Said]:
    for name, tunnel in document.ipsec.items():
        for number, network in enumerate(tunnel.remote_subnets):
            yield pointer("ipsec", name, "remote_subnets", number), f"Tunnel {name}", network


def _users(document: RouterDocument) -> Iterator[_Said]:
    if document.remote_access is not None:
        for number, network in enumerate(document.remote_access.pool):
            yield pointer("remote_access", "pool", number), "Remote access", network


def _l2tp(document: RouterDocument) -> Iterator[_Said]:
    access = document.remote_access
    if access is not None and access.l2tp is not None:
        yield pointer("remote_access", "l2tp", "pool"), "L2TP", access.l2tp.pool


def _wireguard(document: RouterDocument) -> Iterator[_Said]:
    """Of peers only what isn't in the tunnel's own networks."""
    for link, section in document.wireguard.items():
        away = {*map(str, pools(section)), *behind(section)}
        for at, network in section.networks(link):
            if network in away:
                yield at, f"Tunnel {link}", network


def _of_wireguard(document: RouterDocument) -> Iterator[_Owned]:
    for link, section in document.wireguard.items():
        for network in (*map(str, pools(section)), *behind(section)):
            if not network.endswith("/0"):
                yield _span(network), network, f"tunnel {link}"


def _of_paths(document: RouterDocument) -> Iterator[_Owned]:
    """A pair's own."""
    if (redundancy := document.redundancy) is not None:
        yield _span(redundancy.path_network), redundancy.path_network, "the pair's paths"
        for link, path in redundancy.paths.items():
            network = str(ipaddress.ip_interface(path.address).network)
            yield _span(network), network, f"the pair's path {link}"


def _span(network: str) -> tuple[int, int, int]:
    return 6 if ":" in network else 4, *span(network)
