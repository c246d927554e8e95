"""No address is in two networks: each kind of them that a tunnel has, held against every other kind."""

import ipaddress
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from appliance.model import merge_patch
from tests.examples import example, problems

EVERYTHING = example("everything")
PEER = EVERYTHING["wireguard"]["vpn0"]["peers"]["alice"]["public_key"]
NETWORK = {4: "10.77.0.0/22", 6: "fd00:77::/64"}
WITHIN = {4: "10.77.1.0/24", 6: "fd00:77::8000:0/112"}
Made = Callable[[str], tuple[dict[str, Any], str]]
"""A patch that has a network, and where it says so."""


def _first(network: str) -> str:
    parsed = ipaddress.ip_network(network)
    return f"{parsed[1]}/{parsed.prefixlen}"


def _interface(link: str) -> Made:
    def made(network: str) -> tuple[dict[str, Any], str]:
        interface = EVERYTHING["interfaces"].get(link, {})
        own = [*interface.get("addresses", []), _first(network)]
        at = f"/interfaces/{link}/addresses/{len(own) - 1}"
        return {"interfaces": {link: {"addresses": own}}}, at

    return made


def _route(network: str) -> tuple[dict[str, Any], str]:
    gateway = "fd00:1::99" if ":" in network else "10.1.1.99"
    route = {"destination": network, "gateway": gateway}
    return {"routes": {"new": route}}, "/routes/new/destination"


def _pool_of_wireguard(network: str) -> tuple[dict[str, Any], str]:
    own = [*EVERYTHING["wireguard"]["vpn0"]["addresses"], _first(network)]
    return {"wireguard": {"vpn0": {"addresses": own}}}, f"/wireguard/vpn0/addresses/{len(own) - 1}"


def _peer(network: str) -> tuple[dict[str, Any], str]:
    own = [*EVERYTHING["wireguard"]["vpn0"]["peers"]["alice"]["allowed_ips"], network]
    at = f"/wireguard/vpn0/peers/alice/allowed_ips/{len(own) - 1}"
    return {"wireguard": {"vpn0": {"peers": {"alice": {"allowed_ips": own}}}}}, at


def _site(name: str) -> Made:
    def made(network: str) -> tuple[dict[str, Any], str]:
        own = [*EVERYTHING["ipsec"][name]["remote_subnets"], network]
        return {"ipsec": {name: {"remote_subnets": own}}}, f"/ipsec/{name}/remote_subnets/{len(own) - 1}"

    return made


def _pool(network: str) -> tuple[dict[str, Any], str]:
    own = list(EVERYTHING["remote_access"]["pool"])
    place = int(":" in network)
    own[place] = network
    return {"remote_access": {"pool": own}}, f"/remote_access/pool/{place}"


def _l2tp(network: str) -> tuple[dict[str, Any], str]:
    return {"remote_access": {"l2tp": {"pool": network}}}, "/remote_access/l2tp/pool"


def _paths(network: str) -> tuple[dict[str, Any], str]:
    return {"redundancy": {"path_network": network}}, "/redundancy/path_network"


def _sync(network: str) -> tuple[dict[str, Any], str]:
    parsed = ipaddress.ip_network(network)
    path = {"address": f"{parsed[1]}/{parsed.prefixlen}", "peer": str(parsed[2])}
    return {"redundancy": {"paths": {"sync0": path}}}, "/redundancy/paths/sync0/address"


TUNNELS: dict[str, Made] = {
    "wireguard pool": _pool_of_wireguard,
    "wireguard peer": _peer,
    "ipsec": _site("office"),
    "ipsec, route-based": _site("branch"),
    "ikev2 pool": _pool,
    "l2tp pool": _l2tp,
}
OTHERS: dict[str, Made] = {
    "guest": _interface("guest0"),
    "public": _interface("public0"),
    "private": _interface("private0"),
    "route": _route,
    "paths": _paths,
    "sync": _sync,
}
ONLY_4 = {"l2tp pool", "paths"}
SAME_TUNNEL = {("wireguard pool", "wireguard peer"), ("wireguard peer", "wireguard pool")}
"""A peer's address is of the pool."""


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("one", "other"),
    [pair for pair in product(TUNNELS, TUNNELS | OTHERS) if pair[0] != pair[1] and pair not in SAME_TUNNEL],
)
def test_no_address_is_in_two(one: str, other: str, family: int) -> None:
    """Whichever of the two is the wider one."""
    if family == 6 and ONLY_4 & {one, other}:
        return
    kinds = TUNNELS | OTHERS
    for first, second in ((one, other), (other, one)):
        if first == "route" and second.startswith("wireguard"):
            continue  # a wide route beside a narrow one
        patch, place = kinds[first](NETWORK[family])
        more, where = kinds[second](WITHIN[family])
        found = problems(merge_patch(merge_patch(EVERYTHING, patch), more))
        said = [problem for problem in found if "overlaps" in problem.detail]
        assert said, (first, second, found)
        assert {problem.pointer for problem in said} & {place, where}, (place, where, said)


@pytest.mark.parametrize("kind", TUNNELS)
@pytest.mark.parametrize("family", [4, 6])
def test_one_alone_is_taken(kind: str, family: int) -> None:
    """So what is refused above is refused for what overlaps."""
    if family == 6 and kind in ONLY_4:
        return
    patch, _ = TUNNELS[kind](NETWORK[family])
    assert not [item for item in problems(merge_patch(EVERYTHING, patch)) if "overlaps" in item.detail]


def test_a_wide_route_takes_nothing_from_wireguard() -> None:
    for kind in (_pool_of_wireguard, _peer):
        patch, _ = kind(WITHIN[4])
        more, _ = _route(NETWORK[4])
        assert not problems(merge_patch(merge_patch(EVERYTHING, patch), more))
