"""Observe and change routes. Ours carry our protocol number, so others' are never touched.

Next hops of a watched route that don't answer (`Host.silent`) are no part of what is wanted.
"""

import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from appliance.engine.address import PROTOCOL
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.rtnetlink import NetlinkError
from appliance.route import NextHop, Route

KIND = "Route"
_LOOPBACK = "lo"
_HOST = 254
"""RT_SCOPE_HOST, the kernel's linux/rtnetlink.h."""
_ONLINK = 4
"""RTNH_F_ONLINK, rtnetlink(7)."""


class Key(NamedTuple):
    """What tells routes apart. With a gateway the link isn't told, for that follows from it."""

    destination: str
    metric: int
    table: int
    gateway: str
    link: str
    hops: tuple[tuple[str, str, int], ...]
    """Of several next hops: gateways, links and weights."""

    @property
    def place(self) -> tuple[str, int, int]:
        """What a route has to itself: another one that is put there takes it."""
        return self[:3]


class _Seen(NamedTuple):
    """As a key, with links' indexes."""

    destination: str
    metric: int
    table: int
    gateway: str
    link: int
    hops: tuple[tuple[str, int, int], ...]

    def key(self, names: Mapping[int, str]) -> Key:
        hops = tuple((gateway, names.get(index, ""), weight) for gateway, index, weight in self.hops)
        return Key(*self[:4], names.get(self.link, ""), tuple(sorted(hops)))


def plan(wanted: Sequence[Route], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    # A tunnel that goes takes its routes along.
    names = host.expected_names
    observed = host.network(KIND, lambda: _observe(host))
    ours = {seen.key(names) for seen in observed if not seen.link or seen.link in names}
    present = [made for route in wanted if (made := _present(route, host)) is not None]
    keys = {_key(route) for route in present}
    for route in present:
        if _key(route) not in ours:
            yield Change(
                kind=KIND,
                name=_name(route),
                action="create",
                run=lambda route=route: _add(route, host),  # type: ignore[misc]
            )
    taken = {key.place for key in keys if key.gateway or key.hops}
    for key in sorted(ours - keys):
        if (key.gateway or key.hops) and key.place in taken:
            continue  # It is replaced.
        gone = _gone(key)
        yield Change(
            kind=KIND,
            name=_name(gone),
            action="delete",
            run=lambda gone=gone: _delete(gone, host),  # type: ignore[misc]
        )


def _present(route: Route, host: Host) -> Route | None:
    """The route as it is to be now: by links that are there, to next hops that answer."""
    if not route.next_hops:
        if route.link is not None and route.link not in host.expected_links:
            return None
        return None if _is_silent(route, route.hops, host) else route
    hops = tuple(
        hop
        for hop in route.next_hops
        if hop.link in host.expected_links and not _is_silent(route, (hop,), host)
    )
    if len(hops) > 1:
        return replace(route, next_hops=hops)
    return replace(route, gateway=hops[0].gateway, link=hops[0].link, next_hops=()) if hops else None


def _is_silent(route: Route, hops: Sequence[NextHop], host: Host) -> bool:
    return route.watch is not None and any((hop.link, hop.gateway) in host.silent for hop in hops)


def _observe(host: Host) -> set[_Seen]:
    return {_seen(message) for family in (socket.AF_INET, socket.AF_INET6) for message in _own(host, family)}


def _own(host: Host, family: int) -> list[Any]:
    return [route for route in host.ip.get_routes(family=family) if route["proto"] == PROTOCOL]


def _seen(message: Any) -> _Seen:
    anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"  # noqa: S104
    destination = f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}"
    metric = _metric(destination, message.get_attr("RTA_PRIORITY") or 0)
    gateway = message.get_attr("RTA_GATEWAY") or ""
    hops = tuple(
        (hop.get_attr("RTA_GATEWAY") or "", hop["oif"], hop["hops"] + 1)
        for hop in message.get_attr("RTA_MULTIPATH") or ()
    )
    index = 0 if gateway or hops else message.get_attr("RTA_OIF") or 0
    return _Seen(destination, metric, message.get_attr("RTA_TABLE"), gateway, index, hops)


def _key(route: Route) -> Key:
    metric = _metric(route.destination, route.metric)
    hops = tuple(sorted((hop.gateway, hop.link, hop.weight) for hop in route.next_hops))
    link = "" if route.gateway or hops else route.link or ""
    return Key(route.destination, metric, route.table, route.gateway or "", link, hops)


def _gone(key: Key) -> Route:
    return Route(
        destination=key.destination,
        gateway=key.gateway or None,
        link=key.link or None,
        metric=key.metric,
        table=key.table,
        local=key.link == _LOOPBACK,
        next_hops=tuple(NextHop(*hop) for hop in key.hops),
    )


def _metric(destination: str, metric: int) -> int:
    """The kernel makes 1024 of "no metric" in IPv6."""
    return 0 if ":" in destination and metric == 1024 else metric


def _name(route: Route) -> str:
    ways = " and ".join(hop.gateway for hop in route.next_hops)
    return f"{route.destination} via {ways or route.gateway or route.link}"


def _arguments(route: Route, host: Host) -> dict[str, Any]:
    """Raises LookupError where a link isn't there."""
    version = ipaddress.ip_network(route.destination).version
    arguments: dict[str, Any] = {
        "dst": route.destination,
        "family": socket.AF_INET if version == 4 else socket.AF_INET6,
        "table": route.table,
        "proto": PROTOCOL,
    }
    if route.next_hops:
        arguments["multipath"] = [
            {
                "gateway": hop.gateway,
                "oif": host.link_index(hop.link),
                "hops": hop.weight - 1,
                "flags": _ONLINK if route.onlink else 0,
            }
            for hop in route.next_hops
        ]
    elif route.gateway:
        arguments["gateway"] = route.gateway
        if route.onlink:
            arguments["flags"] = ["onlink"]
    if route.link:
        arguments["oif"] = host.link_index(route.link)
    if route.metric:
        arguments["priority"] = route.metric
    if route.local:
        arguments["type"] = "local"
        if version == 4:
            arguments["scope"] = _HOST
    return arguments


def _add(route: Route, host: Host) -> None:
    try:
        # A document's route has its place (destination and metric) to itself: what somebody else put there
        # since is drift.
        host.ip.route("replace", **_arguments(route, host))
    except NetlinkError as error:
        raise OSError(error.code, f"Failed to add the route {_name(route)}: {error}") from error


def _delete(route: Route, host: Host) -> None:
    try:
        host.ip.route("del", **_arguments(route, host))
    except LookupError:
        pass  # It went with its link.
    except NetlinkError as error:
        if error.code != 3:  # ESRCH: it went with its address or link
            raise
