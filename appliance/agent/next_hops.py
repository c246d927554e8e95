"""Whether the next hops of watched routes are there: asked in turn, and routes made without those that don't
answer."""

import ipaddress
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance import neighbour
from appliance.engine.host import Host
from appliance.resources import Resource
from appliance.route import NextHop, Route, Watch

log = logging.getLogger(__name__)
Place = tuple[str, str]
"""Link and gateway."""
_MOST_AT_ONCE = 8
_MOST_SECONDS = 0.5
"""That an answer may take, or the interval if that is less."""
_IDLE_SECONDS = 1.0
_ECHO = {4: (8, 0), 6: (128, 129)}
"""Types of a request and its reply (RFC 792, RFC 4443)."""


@dataclass
class _Known:
    due: float = 0.0
    row: int = 0
    """How many questions in a row went otherwise than by what it is taken for."""


@dataclass
class NextHops:
    """`wanted` is what the machine was last made to be, `adjust` makes it so anew."""

    host: Host
    wanted: Callable[[], Iterable[Resource]]
    adjust: Callable[[], None]
    ask: Callable[..., bool] = field(default_factory=lambda: answers)
    _known: dict[Place, _Known] = field(default_factory=dict)
    _seen: Iterable[Resource] = ()
    _watched: dict[Place, Watch] = field(default_factory=dict)

    def watch(self) -> None:
        """Forever."""
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            while True:
                try:
                    time.sleep(self.look(pool, time.monotonic()))
                except Exception:
                    log.exception("Watching next hops failed")
                    time.sleep(_IDLE_SECONDS)

    def look(self, pool: ThreadPoolExecutor, now: float) -> float:
        """Ask all whose time it is; after how many seconds to look again."""
        wanted = self.wanted()
        if wanted is not self._seen:
            self._seen = wanted
            self._watched = {(hop.link, hop.gateway): watch for hop, watch in watched_hops(wanted)}
        watched = self._watched
        self._known = {place: self._known.get(place, _Known()) for place in watched}
        due = [place for place, known in self._known.items() if known.due <= now]
        silent = set(self.host.silent) & watched.keys()
        for place, answered in zip(due, pool.map(lambda place: self._ask(place, watched[place]), due),
                                   strict=True):  # fmt: skip
            self._note(place, watched[place], silent, answered=answered)
            self._known[place].due = now + watched[place].seconds
        if silent != self.host.silent:
            self.host.silent = frozenset(silent)
            self.adjust()
        left = min((known.due for known in self._known.values()), default=now + _IDLE_SECONDS)
        return max(0.0, min(_IDLE_SECONDS, left - time.monotonic()))

    def _ask(self, place: Place, watch: Watch) -> bool:
        seconds = min(_MOST_SECONDS, watch.seconds)
        try:
            return self.ask(*place, watch.probe, seconds=seconds)
        except OSError:
            return False  # No such link, or no way to send by it.

    def _note(self, place: Place, watch: Watch, silent: set[Place], *, answered: bool) -> None:
        known = self._known[place]
        known.row = known.row + 1 if answered == (place in silent) else 0
        link, gateway = place
        if answered and known.row >= watch.answers:
            silent.discard(place)
            log.info("Next hop %s on %s answers again", gateway, link)
            known.row = 0
        elif not answered and known.row >= watch.losses:
            silent.add(place)
            log.warning("Next hop %s on %s doesn't answer", gateway, link)
            known.row = 0


def watched_hops(wanted: Iterable[Resource]) -> Iterator[tuple[NextHop, Watch]]:
    for resource in wanted:
        if isinstance(resource, Route) and resource.watch is not None:
            for hop in resource.hops:
                yield hop, resource.watch


def told(wanted: Iterable[Resource], host: Host) -> list[dict[str, Any]]:
    """Watched routes with their next hops, as the API has them."""
    return [
        {
            "destination": route.destination,
            "metric": route.metric,
            "next_hops": [
                {
                    "gateway": hop.gateway,
                    "link": hop.link,
                    "weight": hop.weight,
                    "up": (hop.link, hop.gateway) not in host.silent,
                }
                for hop in route.hops
            ],
        }
        for route in wanted
        if isinstance(route, Route) and route.watch is not None
    ]


def samples(routes: Sequence[dict[str, Any]]) -> list[tuple[dict[str, str], float]]:
    """Of what is `told`, for metrics."""
    return [
        ({"destination": route["destination"], "gateway": hop["gateway"], "link": hop["link"]}, hop["up"])
        for route in routes
        for hop in route["next_hops"]
    ]


def answers(
    link: str, gateway: str, probe: Literal["neighbour", "ping"], *, seconds: float = _MOST_SECONDS
) -> bool:
    """Raises OSError where nothing can be sent by this link."""
    if probe == "neighbour":
        return bool(neighbour.answers(link, gateway, seconds=seconds))
    return _pings(link, gateway, seconds)


def _pings(link: str, gateway: str, seconds: float) -> bool:
    version = ipaddress.ip_address(gateway).version
    request, reply = _ECHO[version]
    family, protocol = (
        (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    )
    number, deadline = os.urandom(4), time.monotonic() + seconds
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        checksum = _checksum(struct.pack("!BBH", request, 0, 0) + number)
        raw.sendto(struct.pack("!BBH", request, 0, checksum) + number, (gateway, 0))
        while (left := deadline - time.monotonic()) > 0:
            raw.settimeout(left)
            try:
                packet, sender = raw.recvfrom(2048)
            except TimeoutError:
                break
            content = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
            if content[0] == reply and content[4:8] == number and sender[0].partition("%")[0] == gateway:
                return True
    return False


def _checksum(content: bytes) -> int:
    """RFC 1071. Of ICMPv6 the kernel makes its own."""
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
