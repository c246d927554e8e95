"""Observe and change routes. Ours carry our protocol number, so others' are never touched."""

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from appliance.engine.address import PROTOCOL
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.rtnetlink import NetlinkError
from appliance.resources import Route

KIND = "Route"
_LOOPBACK = "lo"
_HOST = 254
"""RT_SCOPE_HOST, the kernel's linux/rtnetlink.h."""
Key = tuple[str, str, int, int, str]
"""Destination, gateway, metric, table; and, without a gateway, the link."""


def plan(wanted: Sequence[Route], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    # A tunnel that goes takes its routes along.
    names = host.expected_names
    observed = host.network(KIND, lambda: _observe(host))
    ours: set[Key] = {
        (destination, gateway, metric, table, names.get(index, ""))
        for destination, gateway, metric, table, index in observed
        if not index or index in names
    }
    keys = {_wanted_key(route) for route in wanted}
    for route in wanted:
        if _wanted_key(route) not in ours and (route.link is None or route.link in host.expected_links):
            yield Change(
                kind=KIND,
                name=_name(route),
                action="create",
                run=lambda route=route: _add(route, host),  # type: ignore[misc]
            )
    for key in sorted(ours - keys):
        destination, gateway, metric, table, link = key
        gone = Route(
            destination=destination,
            gateway=gateway or None,
            link=link or None,
            metric=metric,
            table=table,
            local=link == _LOOPBACK,
        )
        yield Change(
            kind=KIND,
            name=_name(gone),
            action="delete",
            run=lambda gone=gone: _delete(gone, host),  # type: ignore[misc]
        )


def _observe(host: Host) -> set[tuple[str, str, int, int, int]]:
    """Keys, with the link's index in place of its name."""
    return {_key(message) for family in (socket.AF_INET, socket.AF_INET6) for message in _own(host, family)}


def _own(host: Host, family: int) -> list[Any]:
    return [route for route in host.ip.get_routes(family=family) if route["proto"] == PROTOCOL]


def _key(message: Any) -> tuple[str, str, int, int, int]:
    anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"  # noqa: S104
    destination = f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}"
    metric = _metric(destination, message.get_attr("RTA_PRIORITY") or 0)
    gateway, table = message.get_attr("RTA_GATEWAY") or "", message.get_attr("RTA_TABLE")
    return destination, gateway, metric, table, 0 if gateway else message.get_attr("RTA_OIF") or 0


def _wanted_key(route: Route) -> Key:
    metric = _metric(route.destination, route.metric)
    link = "" if route.gateway else route.link or ""
    return route.destination, route.gateway or "", metric, route.table, link


def _metric(destination: str, metric: int) -> int:
    """The kernel makes 1024 of "no metric" in IPv6."""
    return 0 if ":" in destination and metric == 1024 else metric


def _name(route: Route) -> str:
    return f"{route.destination} via {route.gateway or route.link}"


def _arguments(route: Route) -> dict[str, Any]:
    version = ipaddress.ip_network(route.destination).version
    arguments: dict[str, Any] = {
        "dst": route.destination,
        "family": socket.AF_INET if version == 4 else socket.AF_INET6,
        "table": route.table,
        "proto": PROTOCOL,
    }
    if route.gateway:
        arguments["gateway"] = route.gateway
    if route.onlink:
        arguments["flags"] = ["onlink"]
    if route.metric:
        arguments["priority"] = route.metric
    if route.local:
        arguments["type"] = "local"
        if version == 4:
            arguments["scope"] = _HOST
    return arguments


def _add(route: Route, host: Host) -> None:
    arguments = _arguments(route)
    if route.link:
        arguments["oif"] = host.link_index(route.link)
    try:
        # A document's route has its place (destination and metric) to itself: what somebody else put there
        # since is drift.
        host.ip.route("replace", **arguments)
    except NetlinkError as error:
        raise OSError(error.code, f"Failed to add the route {_name(route)}: {error}") from error


def _delete(route: Route, host: Host) -> None:
    arguments = _arguments(route)
    try:
        if route.link:
            arguments["oif"] = host.link_index(route.link)
        host.ip.route("del", **arguments)
    except LookupError:
        pass  # It went with its link.
    except NetlinkError as error:
        if error.code != 3:  # ESRCH: it went with its address or link
            raise
