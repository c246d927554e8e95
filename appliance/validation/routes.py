"""Static routes."""

import ipaddress
from collections.abc import Iterator

from appliance.document import Document, StaticRoute
from appliance.model import Problem, pointer
from appliance.services.interfaces import link_towards


def problems(document: Document, *, paired: bool = False) -> Iterator[Problem]:
    """`paired`: the appliance is one of a redundant pair."""
    seen: dict[tuple[str, int], str] = {}
    connected = {
        str(ipaddress.ip_interface(address).network): link
        for link, interface in document.interfaces.items()
        for address in interface.addresses
    }
    for name, route in document.routes.items():
        at = ("routes", name)
        if route.destination in ("0.0.0.0/0", "::/0"):
            yield Problem(
                pointer(*at, "destination"), f"Route {name}: the default route is an interface's gateway"
            )
        elif route.destination in connected:
            # It would take the place of the kernel's own route, which nobody would put back.
            yield Problem(
                pointer(*at, "destination"),
                f"Route {name}: {route.destination} is the network of {connected[route.destination]} itself",
            )
        yield from _next_hops(document, name, route, paired=paired)
        if other := seen.get((route.destination, route.metric)):
            yield Problem(
                pointer(*at, "destination"),
                f"Route {name}: {route.destination} with metric {route.metric} is route {other}'s, too",
            )
        seen[route.destination, route.metric] = name


def _next_hops(document: Document, name: str, route: StaticRoute, *, paired: bool) -> Iterator[Problem]:
    at = ("routes", name)
    if (route.gateway is None) == (not route.next_hops):
        yield Problem(pointer(*at), f"Route {name}: it needs a gateway, or next_hops in place of one")
        return
    if route.watch is not None and route.watch.probe == "ping" and paired:
        # Where its addresses aren't, nobody answers it.
        what = "the backup of a pair has no address to ping from; its next hops are asked as neighbours"
        yield Problem(pointer(*at, "watch", "probe"), f"Route {name}: {what}")
    ways = [(pointer(*at, "gateway"), route.gateway)] if route.gateway else []
    ways += [
        (pointer(*at, "next_hops", key, "gateway"), hop.gateway) for key, hop in route.next_hops.items()
    ]
    met: set[str] = set()
    for where, gateway in ways:
        if (":" in route.destination) != (":" in gateway):
            yield Problem(where, f"Route {name}: gateway and destination differ in family")
        elif link_towards(gateway, document.interfaces) is None:
            yield Problem(where, f"Route {name}: gateway {gateway} is on no interface's network")
        elif gateway in met:
            yield Problem(where, f"Route {name}: {gateway} is another next hop's, too")
        met.add(gateway)
