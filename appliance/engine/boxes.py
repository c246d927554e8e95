"""Connections told by what the elements of nft sets say: a span for each of some fields."""

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from appliance.engine.conntrack import Connection

Span = tuple[int, int]
"""First and last value, both included."""
Box = dict[str, Span]
"""By field."""

_READERS: Mapping[str, Callable[[Connection], int]] = {
    "version": lambda seen: seen.version,
    "source": lambda seen: seen.original.source,
    "destination": lambda seen: seen.original.destination,
    "port": lambda seen: seen.original.port,
    "protocol": lambda seen: seen.protocol,
    "icmp_type": lambda seen: seen.original.icmp_type if seen.protocol in (1, 58) else -1,
    "icmp_code": lambda seen: seen.original.icmp_code,
    "reply_source": lambda seen: seen.reply.source,
    "reply_port": lambda seen: seen.reply.source_port,
    "reply_destination": lambda seen: seen.reply.destination,
}
_TELLING = ("destination", "source", "reply_source", "port", "reply_port")
"""Fields by which boxes are found, the most telling first."""


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

    def hold(self, connection: Connection) -> bool:
        return any(_holds(each, connection) for each in self._near(connection))

    def _near(self, connection: Connection) -> Iterator[Box]:
        for field in _TELLING:
            yield from self._found.get((field, _READERS[field](connection)), ())
        yield from self._others


def _holds(each: Box, connection: Connection) -> bool:
    return all(first <= _READERS[field](connection) <= last for field, (first, last) in each.items())
