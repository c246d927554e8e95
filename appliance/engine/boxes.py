"""Connections told by what the elements of nft sets say: a span for each of some fields."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping

from appliance.engine.conntrack import Connection

Span = tuple[int, int]
"""First and last value, both included."""
Box = dict[str, Span]
"""By field."""

Values = Mapping[str, int]
"""Of a connection, by field."""
_TELLING = ("destination", "source", "reply_source", "port", "reply_port")
"""Fields by which boxes are found, the most telling first."""


def values(seen: Connection) -> Values:
    """What boxes are held against; read once, for there may be many boxes."""
    return {
        "version": seen.version,
        "source": seen.original.source,
        "destination": seen.original.destination,
        "port": seen.original.port,
        "protocol": seen.protocol,
        "icmp_type": seen.original.icmp_type if seen.protocol in (1, 58) else -1,
        "icmp_code": seen.original.icmp_code,
        "reply_source": seen.reply.source,
        "reply_port": seen.reply.source_port,
        "reply_destination": seen.reply.destination,
    }


def span(text: str) -> Span:
    """First and last of what nft lists as a number, an address, a prefix or a range."""
    first, dash, last = text.partition("-")
    if dash:
        return span(first)[0], span(last)[1]
    if text.isdigit():
        return int(text), int(text)
    network = ipaddress.ip_network(text)
    return int(network.network_address), int(network.broadcast_address)


def box(fields: Iterable[str], texts: Iterable[str]) -> Box:
    """Of an element's parts; what has no name isn't looked at. Addresses are numbers here, so a box knows of
    which family its own are."""
    found: Box = {}
    for field, text in zip(fields, texts, strict=True):
        if field:
            found[field] = span(text)
            if version := 6 if ":" in text else 4 if "." in text else 0:
                found["version"] = (version, version)
    return found


class Boxes:
    """Boxes, found by a field that is one value in them."""

    def __init__(self, boxes: Iterable[Box] = ()) -> None:
        self._found: dict[tuple[str, int], list[Box]] = defaultdict(list)
        self._others: list[Box] = []
        self.add(boxes)

    def add(self, boxes: Iterable[Box]) -> None:
        for each in boxes:
            for field in _TELLING:
                if field in each and each[field][0] == each[field][1]:
                    self._found[field, each[field][0]].append(each)
                    break
            else:
                self._others.append(each)

    def hold(self, connection: Values) -> bool:
        for field in _TELLING:
            if (near := self._found.get((field, connection[field]))) and _any_holds(near, connection):
                return True
        return _any_holds(self._others, connection)


def _any_holds(boxes: Iterable[Box], connection: Values) -> bool:
    for each in boxes:
        for field, (first, last) in each.items():
            if not first <= connection[field] <= last:
                break
        else:
            return True
    return False
