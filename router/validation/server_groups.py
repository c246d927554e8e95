"""Servers of load balancers, and how they are chosen and spoken to."""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance import certificate
from appliance.model import Problem, pointer
from router.document import LoadBalancer, Server, ServerGroup, ServerTls

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Surroundings:
    """What else the document says that a load balancer depends on."""

    addresses: frozenset[str]
    served: frozenset[str]
    """The addresses of guest networks that guests are served at."""
    static: frozenset[str]
    networks: tuple[IpNetwork, ...]
    """Where guests are."""
    certificates: frozenset[str]


def problems(
    group: ServerGroup, item: LoadBalancer, at: tuple[str, ...], title: str, around: Surroundings
) -> Iterator[Problem]:
    """Of a group of a load balancer's, or of the one that it is itself."""
    yield from _stickiness(group, item, at, title)
    if group.server_tls is not None and item.mode != "udp":
        yield from _server_tls(group.server_tls, item, (*at, "server_tls"), title)
    yield from _servers(group, item, at, title, around)


def _stickiness(
    group: ServerGroup, item: LoadBalancer, at: tuple[str, ...], title: str
) -> Iterator[Problem]:
    if group.stickiness is None:
        return
    at = (*at, "stickiness")
    chosen = [kind for kind in ("cookie", "source", "header") if getattr(group.stickiness, kind) is not None]
    if len(chosen) != 1:
        yield Problem(pointer(*at), f"{title}: it is one of cookie, source and header")
    for kind in chosen:
        if kind != "source" and item.mode != "http":
            yield Problem(pointer(*at, kind), f"{title}: only http has a {kind}")


def _server_tls(tls: ServerTls, item: LoadBalancer, at: tuple[str, ...], title: str) -> Iterator[Problem]:
    if tls.http2 and item.mode != "http":
        yield Problem(pointer(*at, "http2"), f"{title}: only http has HTTP/2")
    if not tls.verify:
        if tls.authority is not None:
            yield Problem(
                pointer(*at, "authority"), f"{title}: no authority has a say where nothing is verified"
            )
        return
    if tls.name is None or tls.authority is None:
        yield Problem(
            pointer(*at), f"{title}: to verify servers' certificates takes an authority and a name"
        )
    elif not certificate.parsed(tls.authority):
        yield Problem(pointer(*at, "authority"), f"{title}: there is no certificate in PEM (RFC 7468)")


def _servers(
    group: ServerGroup, item: LoadBalancer, at: tuple[str, ...], title: str, around: Surroundings
) -> Iterator[Problem]:
    seen: dict[tuple[str, int], str] = {}
    for name, server in group.servers.items():
        here = (*at, "servers", name)
        address = ipaddress.ip_address(server.address)
        ends = [network for network in around.networks if address in network]
        if not ends or server.address in around.addresses:
            yield Problem(
                pointer(*here, "address"),
                f"{title}: server {name}: {server.address} is on no guest network",
            )
        elif item.transparent and (fault := _unseen(item, ends)):
            yield Problem(pointer(*here, "address"), f"{title}: server {name}: {fault}")
        yield from _server(item, name, server, here, title)
        where = (server.address, server.port or item.port)
        if other := seen.get(where):
            yield Problem(
                pointer(*here, "address"),
                f"{title}: server {name} has the address and port of server {other}",
            )
        seen.setdefault(where, name)


def _unseen(item: LoadBalancer, ends: Sequence[IpNetwork]) -> str:
    """Why a server there can't be shown the client's address; empty where it can."""
    own = ipaddress.ip_address(item.address)
    if own.version != ends[0].version:
        return "it can't be shown a client's address of the other family"
    if any(own in network for network in ends):
        return "it would answer clients of its own network past the router, not by the load balancer"
    return ""


def _server(
    item: LoadBalancer, name: str, server: Server, here: tuple[str, ...], title: str
) -> Iterator[Problem]:
    if item.mode != "udp":
        return
    if (":" in server.address) != (":" in item.address):
        yield Problem(
            pointer(*here, "address"),
            f"{title}: server {name}: udp can't be led to an address of the other family",
        )
    if server.max_connections is not None:
        yield Problem(
            pointer(*here, "max_connections"), f"{title}: server {name}: udp has no max connections"
        )
