"""Interfaces with their addresses, default gateways and static routes."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping

from appliance.checks import Check, LinkCheck, NextHopCheck
from appliance.document import Document, Interface, StaticRoute
from appliance.resources import Address, Link, ReceiveQueues, Resource, Sysctl
from appliance.route import NextHop, Route, Watch


def resources(document: Document) -> Iterator[Resource]:
    preferred: Counter[str] = Counter()
    for name, interface in sorted(document.interfaces.items()):
        yield Link(name=name, mac=interface.mac, mtu=interface.mtu)
        yield ReceiveQueues(link=name)
        for address in interface.addresses:
            yield Address(link=name, address=address)
        for gateway in interface.gateways:
            anywhere = default_route(gateway)
            rank = preferred[anywhere]
            # No metric is 1024 in IPv6, and the best in IPv4.
            metric = rank + 1024 if rank and ":" in gateway else rank
            yield Route(destination=anywhere, gateway=gateway, link=name, metric=metric)
            preferred[anywhere] += 1
    for route in document.routes.values():
        yield _route(route, document.interfaces)
    if any(len(route.gateways) > 1 for route in document.routes.values()):
        # A flow is told by its ports, too: two hosts' many connections are shared out.
        for version in ("ipv4", "ipv6"):
            yield Sysctl(name=f"net/{version}/fib_multipath_hash_policy", value="1")


def _route(route: StaticRoute, interfaces: Mapping[str, Interface]) -> Route:
    watch = None
    if route.watch is not None:
        seconds = route.watch.interval_milliseconds / 1000
        watch = Watch(route.watch.probe, seconds, route.watch.losses, route.watch.answers)
    if route.gateway is not None:
        return Route(
            destination=route.destination,
            gateway=route.gateway,
            link=link_towards(route.gateway, interfaces),
            metric=route.metric,
            watch=watch,
        )
    hops = (
        NextHop(hop.gateway, link, hop.weight)
        for _, hop in sorted(route.next_hops.items())
        if (link := link_towards(hop.gateway, interfaces)) is not None
    )
    return Route(destination=route.destination, next_hops=tuple(hops), metric=route.metric, watch=watch)


def default_route(gateway: str) -> str:
    """The destination of what goes by a default gateway."""
    return "::/0" if ":" in gateway else "0.0.0.0/0"


def link_towards(address: str, interfaces: Mapping[str, Interface]) -> str | None:
    """The interface on whose network an address is."""
    ip = ipaddress.ip_address(address)
    for name, interface in interfaces.items():
        if any(ip in ipaddress.ip_interface(own).network for own in interface.addresses):
            return name
    return None


def links_towards(route: StaticRoute, interfaces: Mapping[str, Interface]) -> list[str]:
    """The interfaces that a route leads by, each once."""
    links = (link_towards(gateway, interfaces) for gateway in route.gateways)
    return list(dict.fromkeys(link for link in links if link is not None))


def checks(document: Document) -> Iterator[Check]:
    for name in document.interfaces:
        yield LinkCheck(name=f"link {name}", link=name)
    for name, static in document.routes.items():
        route = _route(static, document.interfaces)
        if route.watch is not None:
            for hop in route.hops:
                yield NextHopCheck(
                    name=f"route {name} by {hop.gateway}",
                    link=hop.link,
                    gateway=hop.gateway,
                    probe=route.watch.probe,
                )
