"""Shaping: who has a queue on which link, and how a packet finds it.

nft maps from a link or an address to the class make that the packet's priority, where the guest's address
is still on it; so HTB needs no filter of its own, and a packet meets the same few lookups whoever has a
rate. A packet waits in one queue only: its guest's, which borrows from its network's; without these its
public address's. What is sent waits where it leaves the router for the outside, what is received where it
leaves for the guest. Other limits of the same packet are policers.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from appliance.memo import per_key, per_sections
from appliance.resources import Resource
from appliance.shaping import QUEUED, QUEUES, Queue, Shaping
from router.document import Limit, RouterDocument
from router.document.limits import Rate
from router.elements import Elements
from router.guests import Limited, limited
from router.network import guest_networks, private_links, public_links

Direction = Literal["sent", "received"]
DIRECTIONS: tuple[Direction, Direction] = ("sent", "received")
CLASSES = {
    f"{kind}_{direction}_class{version}": kind
    for kind, versions in (("network", ("",)), ("guest", ("4", "6")), ("address", ("4", "6")))
    for direction in DIRECTIONS
    for version in versions
}
"""Maps to classes."""
OF_NETWORKS, OTHERS, FIRST, LAST = 1, 0x400, 0x800, 0xFFFE
"""Numbers: a network's class, the queue of those of its guests who have none, and from there all others'."""
MOST = 20_000
"""Rates that may be shaped. The kernel searches all there are when it makes one more: so many take it ten
seconds, a fifth of them half a second."""
_LEAST = 1_000
"""Bytes per second that a guest has of his network's rate when all want all of it."""
_LATE = 500
"""Of a second: 2 ms."""


Key = tuple[str, str, Direction]


class _Waiting(NamedTuple):
    """One whose packets wait: which elements say so, and by link the queue."""

    key: Key
    elements: tuple[tuple[str, str], ...]
    queues: tuple[tuple[str, Queue], ...]


@dataclass
class _Made:
    queues: dict[str, dict[int, Queue]] = field(default_factory=dict)
    """By link."""
    elements: Elements = field(default_factory=lambda: {QUEUED: {}, **{name: {} for name in CLASSES}})


def resources(document: RouterDocument) -> Iterator[Resource]:
    for link, queues in _made(document).queues.items():
        yield Shaping(link=link, queues=queues)


def elements(document: RouterDocument) -> Elements:
    """Of the table of limits."""
    return _made(document).elements


def shaped(limit: Limit | None, direction: Direction) -> Rate | None:
    rate: Rate | None = getattr(limit, direction) if limit else None
    return rate if rate and rate.mode == "shaped" else None


def count(document: RouterDocument) -> int:
    """Rates of guests and public addresses that need a number."""
    return sum(1 for _ in _waiting(document))


def numbers(keys: Iterable[Key]) -> Mapping[Key, int]:
    """A number for each. One more leaves the others theirs, but for the few that it collides with."""
    found: dict[Key, int] = {}
    taken = {QUEUES}
    for key in sorted(keys):
        number = FIRST + zlib.crc32(" ".join(key).encode()) % (LAST - FIRST)
        while number in taken:
            number = number + 1 if number < LAST else FIRST
        taken.add(number)
        found[key] = number
    return found


@per_sections("interfaces", "dhcp", "metadata", "limits")
def _made(document: RouterDocument) -> _Made:
    made = _Made()
    for network in guest_networks(document):
        _network(made, network.link, document.limits.networks.get(network.link), _outside(document))
    waiting = list(_waiting(document))
    by_key = numbers(each.key for each in waiting)
    for each in waiting:
        number = by_key[each.key]
        for place, address in each.elements:
            made.elements[place][address] = _class(number)
        for link, queue in each.queues:
            made.queues.setdefault(link, {})[number] = queue
    made.elements[QUEUED].update(dict.fromkeys(made.queues))
    return made


def _waiting(document: RouterDocument) -> Iterator[_Waiting]:
    networks = {
        (link, direction)
        for link, limit in document.limits.networks.items()
        for direction in DIRECTIONS
        if shaped(limit, direction)
    }
    for several in _guests(limited(document), tuple(_outside(document)), networks).values():
        yield from several
    for address, limit in document.limits.addresses.items():
        for direction in DIRECTIONS:
            if rate := shaped(limit, direction):
                place = f"address_{direction}_class{_version(address)}"
                links = _links_of(address, direction, document)
                queues = tuple((link, _queue(rate, 0)) for link in links)
                yield _Waiting(("addresses", address, direction), ((place, address),), queues)


@per_key
def _guests(
    key: str, guest: Limited, outside: tuple[str, ...], networks: Set[tuple[str, Direction]]
) -> tuple[_Waiting, ...]:
    limit, homes = guest
    return tuple(
        _Waiting(
            ("guests", key, direction),
            tuple((f"guest_{direction}_class{_version(address)}", address) for address in homes or ()),
            tuple(
                (link, _queue(rate, _number(home) if (home, direction) in networks else 0))
                for home in dict.fromkeys((homes or {}).values())
                for link in (outside if direction == "sent" else (home,))
            ),
        )
        for direction in DIRECTIONS
        if (rate := shaped(limit, direction))
    )


def _outside(document: RouterDocument) -> list[str]:
    return [*private_links(document), *public_links(document)]


def _network(made: _Made, link: str, limit: Limit | None, outside: list[str]) -> None:
    number = _number(link)
    others = number + OTHERS
    for direction in DIRECTIONS:
        if not (rate := shaped(limit, direction)):
            continue
        made.elements[f"network_{direction}_class"][link] = _class(others)
        for place in outside if direction == "sent" else [link]:
            ceiling, burst = _bytes(rate)
            made.queues.setdefault(place, {})[number] = Queue(ceiling, ceiling, burst, leaf=False)
            made.queues[place][others] = _queue(rate, number)


def _queue(rate: Rate, parent: int) -> Queue:
    ceiling, burst = _bytes(rate)
    return _same(_LEAST if parent else ceiling, ceiling, burst, parent)


@lru_cache(1_000)
def _same(rate: int, ceiling: int, burst: int, parent: int) -> Queue:
    """Most are alike."""
    return Queue(rate, ceiling, burst, parent)


def _bytes(rate: Rate) -> tuple[int, int]:
    """How many per second, and at once: no fewer than go by while the kernel's clock is late."""
    return rate.rate // 8, max(rate.burst, rate.rate // 8 // _LATE)


def _number(link: str) -> int:
    """A network's, of its link's number: up to 999."""
    return OF_NETWORKS + int(link.lstrip("abcdefghijklmnopqrstuvwxyz"))


def _links_of(address: str, direction: Direction, document: RouterDocument) -> list[str]:
    """Where a public address's packets leave: it is one link's, and may be any guest's."""
    if direction == "received":
        return [network.link for network in guest_networks(document)]
    return [
        link
        for link in public_links(document)
        if any(own.partition("/")[0] == address for own in document.interfaces[link].addresses)
    ]


def _class(number: int) -> str:
    """As nft writes it."""
    return f"{QUEUES:x}:{number:x}"


def _version(address: str) -> str:
    return "6" if ":" in address else "4"
