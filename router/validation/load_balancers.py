"""Load balancers."""

import ipaddress
from collections.abc import Iterator

from appliance.address import port_range
from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import LoadBalancer, RouterDocument
from router.network import GUEST, PRIVATE, PUBLIC, guest_networks
from router.validation import http_rules, server_groups
from router.validation.server_groups import IpNetwork, Surroundings

_OWN_PORTS = {"tcp": (53, 80, 8080), "udp": (53, 67)}
"""Of names, metadata, passwords and leases, on the first address of a guest network."""
_MOST_UDP_SERVERS = 256


def problems(document: RouterDocument) -> Iterator[Problem]:
    around = _surroundings(document)
    for found in filter(None, _balancers(document.load_balancers, around).values()):
        yield from found
    forwarded = _forwarded(document)
    taken: dict[tuple[str, str, int], str] = {}
    for name, item in document.load_balancers.items():
        key = (item.address, _protocol(item), item.port)
        at = pointer("load_balancers", name, "port")
        if other := taken.get(key):
            yield Problem(at, f"{_title(item)}: load balancer {other} has this address and port already")
        taken.setdefault(key, name)
        for first, last, forward in forwarded.get(key[:2], ()):
            if first <= item.port <= last:
                yield Problem(at, f"{_title(item)}: the port is port forward {forward}'s")


def _surroundings(document: RouterDocument) -> Surroundings:
    networks: list[IpNetwork] = []
    addresses = set()
    for link, interface in document.interfaces.items():
        if not link.startswith((GUEST, PUBLIC, PRIVATE)):
            continue
        for text in interface.addresses:
            addresses.add(text.partition("/")[0])
            if link.startswith(GUEST):
                networks.append(ipaddress.ip_interface(text).network)
    return Surroundings(
        addresses=frozenset(addresses),
        served=frozenset(address for network in guest_networks(document) for address in network.addresses),
        static=frozenset(document.static_nat),
        networks=tuple(networks),
        certificates=frozenset(document.certificates),
    )


def _forwarded(document: RouterDocument) -> dict[tuple[str, str], list[tuple[int, int, str]]]:
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for name, forward in document.port_forwards.items():
        span = (*port_range(forward.ports), name)
        found.setdefault((forward.address, forward.protocol), []).append(span)
    return found


@per_key
def _balancers(name: str, item: LoadBalancer, around: Surroundings) -> tuple[Problem, ...]:
    at = ("load_balancers", name)
    title = _title(item)
    return (
        *_place(item, at, around),
        *_features(item, at),
        *server_groups.problems(item, item, at, title, around),
        *http_rules.problems(item, at, title),
        *(
            problem
            for key, group in item.groups.items()
            for problem in server_groups.problems(
                group, item, (*at, "groups", key), f"{title}: group {key}", around
            )
        ),
    )


def _place(item: LoadBalancer, at: tuple[str, ...], around: Surroundings) -> Iterator[Problem]:
    if item.address not in around.addresses:
        yield Problem(
            pointer(*at, "address"),
            f"{_title(item)}: {item.address} is no address of a public, guest or private interface",
        )
    if item.address in around.static:
        yield Problem(
            pointer(*at, "address"), f"{_title(item)}: the address has static NAT for all its ports"
        )
    if item.address in around.served and item.port in _OWN_PORTS[_protocol(item)]:
        yield Problem(
            pointer(*at, "port"),
            f"{_title(item)}: the network's own services have this port; another address of it is free",
        )
    for number, cidr in enumerate(item.source_cidrs):
        if (":" in cidr) != (":" in item.address):
            yield Problem(
                pointer(*at, "source_cidrs", number),
                f"{_title(item)}: nobody comes from {cidr} to an address of the other family",
            )
    for name in item.tls.certificates if item.tls else ():
        if name not in around.certificates:
            yield Problem(
                pointer(*at, "tls", "certificates"), f"{_title(item)}: there is no certificate {name}"
            )


def _features(item: LoadBalancer, at: tuple[str, ...]) -> Iterator[Problem]:
    if item.mode == "udp":
        for field in ("tls", "server_tls", "proxy_protocol", "check", "max_connections"):
            if getattr(item, field) is not None:
                yield Problem(pointer(*at, field), f"{_title(item)}: udp has no {field.replace('_', ' ')}")
        if item.transparent:
            yield Problem(
                pointer(*at, "transparent"), f"{_title(item)}: udp's servers see the client's address anyway"
            )
        if item.algorithm == "least-connections":
            yield Problem(
                pointer(*at, "algorithm"), f"{_title(item)}: udp has no connections that could be counted"
            )
        if len(item.servers) > _MOST_UDP_SERVERS:
            yield Problem(
                pointer(*at, "servers"), f"{_title(item)}: udp can have {_MOST_UDP_SERVERS} servers at most"
            )


def _protocol(item: LoadBalancer) -> str:
    return "udp" if item.mode == "udp" else "tcp"


def _title(item: LoadBalancer) -> str:
    address = f"[{item.address}]" if ":" in item.address else item.address
    return f"Load balancer {address}:{item.port}/{_protocol(item)}"
