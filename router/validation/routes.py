"""Static routes."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from appliance.services.interfaces import link_towards
from router.document import RouterDocument


def problems(document: RouterDocument) -> Iterator[Problem]:
    seen: dict[tuple[str, int], str] = {}
    for name, route in document.routes.items():
        at = ("routes", name)
        if route.destination in ("0.0.0.0/0", "::/0"):
            yield Problem(
                pointer(*at, "destination"), f"Route {name}: the default route is an interface's gateway"
            )
        elif (":" in route.destination) != (":" in route.gateway):
            yield Problem(pointer(*at, "gateway"), f"Route {name}: gateway and destination differ in family")
        elif link_towards(route.gateway, document.interfaces) is None:
            yield Problem(
                pointer(*at, "gateway"),
                f"Route {name}: gateway {route.gateway} is on no interface's network",
            )
        if other := seen.get((route.destination, route.metric)):
            yield Problem(
                pointer(*at, "destination"),
                f"Route {name}: {route.destination} with metric {route.metric} is route {other}'s, too",
            )
        seen[route.destination, route.metric] = name
