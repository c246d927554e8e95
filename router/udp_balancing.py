"""Load balancers of udp as elements of nft maps: the first packet of a flow is led to a server, by chance or
by its source address, and connection tracking keeps the flow there.

A key's last field is a slot: a number below `SLOTS` by chance, or a hash of the source. Each server has its
share of the slots."""

import ipaddress
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise

from appliance.datagrams import DatagramBalancer, DatagramServer
from appliance.memo import per_key, per_sections
from appliance.resources import Resource
from router.document import LoadBalancer, RouterDocument, Server
from router.elements import Elements, number_text

KINDS = ("chance", "source", "limited", "sources", "resting")
"""The first two are maps to servers; the others, sets: who is limited to chosen sources, and to which; and
servers that get no new flows and keep those they have, which no rule asks for: when one of them goes, its
flows are to end."""
SETS = [f"udp_{kind}{version}" for kind in KINDS for version in (4, 6)]
SLOTS = 16384
"""As the templates have it."""
Element = tuple[str, str, str | None]
"""Map or set, key, value."""


def resources(document: RouterDocument) -> Iterator[Resource]:
    yield from (told for several in _told(document.load_balancers).values() for told in several)


@per_key
def _told(name: str, item: LoadBalancer) -> tuple[DatagramBalancer, ...]:
    if item.mode != "udp":
        return ()
    servers = {
        key: DatagramServer(
            address=server.address,
            port=server.port or item.port,
            weight=server.weight,
            state=server.state,
            backup=server.backup,
        )
        for key, server in item.servers.items()
    }
    return (DatagramBalancer(name=name, address=item.address, port=item.port, servers=servers),)


@per_sections("load_balancers")
def elements(document: RouterDocument) -> Elements:
    found: Elements = {name: {} for name in SETS}
    for made in _elements(document.load_balancers).values():
        for name, key, value in made:
            found[name][key] = value
    return found


@per_key
def _elements(name: str, item: LoadBalancer) -> tuple[Element, ...]:
    return tuple(_led(item)) if item.mode == "udp" else ()


def _led(item: LoadBalancer) -> Iterator[Element]:
    by = "source" if item.algorithm == "source" or item.stickiness is not None else "chance"
    version = 6 if ":" in item.address else 4
    servers = used(item.servers)
    ends = accumulate((server.weight for server in servers), initial=0)
    total = sum(server.weight for server in servers)
    spans = list(pairwise(end * SLOTS // total for end in ends)) if total else []
    place = f"{item.port} . {item.address}"
    for server, (first, after) in zip(servers, spans, strict=True):
        if after > first:
            key = f"{place} . {number_text(first, after - 1)}"
            yield f"udp_{by}{version}", key, f"{server.address} . {server.port or item.port}"
    for server in item.servers.values():
        if server not in servers:
            key = f"{place} . {server.address} . {server.port or item.port}"
            yield f"udp_resting{version}", key, None
    if item.source_cidrs:
        yield f"udp_limited{version}", place, None
    for source in _sources(item.source_cidrs, version):
        yield f"udp_sources{version}", f"{place} . {source}", None


def used(servers: Mapping[str, Server]) -> list[Server]:
    """Those that get new flows: of the backup servers some only where there are no others."""
    ready = [server for _, server in sorted(servers.items()) if server.state == "ready"]
    return [server for server in ready if not server.backup] or ready


def _sources(cidrs: list[str], version: int) -> Iterator[str]:
    """Of this family, as nft lists them, without overlap."""
    networks = [network for network in map(ipaddress.ip_network, cidrs) if network.version == version]
    for network in ipaddress.collapse_addresses(networks):  # type: ignore[type-var]
        single = network.prefixlen == network.max_prefixlen
        yield str(network.network_address) if single else str(network)
