"""End the connections that only a removed element of a set had let in, and no others.

Connection tracking lets an established connection go on whatever the rules say now; so when a rule is taken
away, what it let in must be found and forgotten. What that is follows from the elements that the kernel had
and those that are wanted; it is noted before the transaction and forgotten after, so a crash between the two
leaves it to the next plan.
"""

import ipaddress
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from appliance import disk
from appliance.engine import conntrack
from appliance.engine.conntrack import Connection
from appliance.engine.host import Host
from appliance.resources import Admission, Ruleset

log = logging.getLogger(__name__)
_NOTE = "flows.json"
Span = tuple[int, int]
Gone = dict[str, list[tuple[str, str | None]]]
"""Set -> elements with what they map to."""
Box = dict[str, Span]
"""By field."""

_READERS: Mapping[str, Callable[[Connection], int]] = {
    "source": lambda seen: seen.original.source,
    "destination": lambda seen: seen.original.destination,
    "port": lambda seen: seen.original.port,
    "protocol": lambda seen: seen.protocol,
    "icmp_type": lambda seen: seen.original.icmp_type if seen.protocol in (1, 58) else -1,
    "reply_source": lambda seen: seen.reply.source,
    "reply_port": lambda seen: seen.reply.source_port,
    "reply_destination": lambda seen: seen.reply.destination,
}
_TELLING = ("destination", "source", "reply_source", "port")
"""Fields by which boxes are found, the most telling first."""


def gone(ruleset: Ruleset, observed: Mapping[str, Mapping[str, str | None]]) -> Gone:
    """The observed elements that let connections in and are not wanted any more."""
    found: Gone = {}
    for name in ruleset.admissions:
        want, have = ruleset.elements.get(name, {}), observed.get(name, {})
        if want is not have and (less := [(key, value) for key, value in have.items()
                                          if key not in want or want[key] != value]):  # fmt: skip
            found[name] = less
    return found


def note(going: Gone, host: Host) -> None:
    """Before the elements go."""
    if going:
        noted: Gone = host.note(_NOTE) or {}
        both = {name: [*noted.get(name, []), *going.get(name, [])] for name in noted.keys() | going.keys()}
        disk.write_json(host.state / _NOTE, both)


def noted(host: Host) -> bool:
    return (host.state / _NOTE).exists()


def end(ruleset: Ruleset, host: Host) -> int:
    """What only the noted elements let in, once they are gone. How many connections that were."""
    going = host.note(_NOTE)
    count = 0
    if going:
        ending = list(_ending(ruleset, going, conntrack.connections()))
        count = conntrack.end(ending)
        log.info("%d connections end with the rules that let them in", count)
    (host.state / _NOTE).unlink(missing_ok=True)
    return count


def _ending(ruleset: Ruleset, going: Gone, tracked: Iterable[Connection]) -> Iterator[Connection]:
    groups: dict[str, _Boxes] = defaultdict(_Boxes)
    for name, elements in going.items():
        if admission := ruleset.admissions.get(name):
            groups[admission.group].add(_boxes(admission, elements))
    staying: dict[str, _Boxes] = {}
    for connection in tracked:
        for group, boxes in groups.items():
            if not boxes.hold(connection):
                continue
            if group not in staying:
                staying[group] = _staying(ruleset, group)
            if not staying[group].hold(connection):
                yield connection
                break


def _staying(ruleset: Ruleset, group: str) -> "_Boxes":
    boxes = _Boxes()
    for name, admission in ruleset.admissions.items():
        if admission.group == group:
            boxes.add(_boxes(admission, ruleset.elements.get(name, {}).items()))
    for admitted in ruleset.admitted:
        if admitted.group == group:
            boxes.add([{admitted.field: span(admitted.value)} if admitted.field else {}])
    return boxes


def _boxes(admission: Admission, elements: Iterable[Sequence[str | None]]) -> Iterator[Box]:
    for key, value in elements:
        texts = (*(key or "").split(" . "), *(value.split(" . ") if value and admission.mapped else ()))
        yield dict(zip((*admission.fields, *admission.mapped), map(span, texts), strict=True))


def span(text: str) -> Span:
    """First and last of what nft lists as a number, an address, a prefix or a range."""
    first, dash, last = text.partition("-")
    if dash:
        return span(first)[0], span(last)[1]
    if text.isdigit():
        return int(text), int(text)
    network = ipaddress.ip_network(text)
    return int(network.network_address), int(network.broadcast_address)


class _Boxes:
    """Boxes, found by a field that is one value in them."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], list[Box]] = defaultdict(list)
        self._others: list[Box] = []

    def add(self, boxes: Iterable[Box]) -> None:
        for box in boxes:
            for field in _TELLING:
                if field in box and box[field][0] == box[field][1]:
                    self._found[field, box[field][0]].append(box)
                    break
            else:
                self._others.append(box)

    def hold(self, connection: Connection) -> bool:
        near = (self._found.get((field, _READERS[field](connection)), ()) for field in _TELLING)
        return any(_holds(box, connection) for boxes in (*near, self._others) for box in boxes)


def _holds(box: Box, connection: Connection) -> bool:
    return all(first <= _READERS[field](connection) <= last for field, (first, last) in box.items())
