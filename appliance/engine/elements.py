"""Elements of nft sets as the kernel lists them, and what they have counted.

A count is of what the element's rules decided. Where rules overlap, one that comes or goes has others'
elements cut anew: what an element had counted goes on in one that is a part of it, or that it is a part of.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from appliance.engine.boxes import Box, box

Place = tuple[str, str]
"""Set and element."""
Pairs = list[tuple[str, str | None]]
Moved = Mapping[str, Pairs]
"""Elements, each with what it maps to, by set."""
_MOST_COMPARED = 1_000_000
"""Pairs of elements: beyond that what they had counted isn't worth the time."""


@dataclass(frozen=True, slots=True)
class Count:
    packets: int
    bytes: int

    def __add__(self, other: "Count") -> "Count":
        return Count(self.packets + other.packets, self.bytes + other.bytes)


def element(listed: Any) -> tuple[str, str | None]:
    """As nft writes it, and what it maps to."""
    if isinstance(listed, list):
        key, mapped = listed
        return _text(key), _text(mapped)
    return _text(listed), None


_WORDS = {"accept", "drop", "return", "goto", "jump"}


def compact(value: dict[str, Any]) -> Any:
    """What is an element, or a part of one, as text: ten thousand elements as objects take tens of megabytes
    before any of them is looked at. A hook for a listing that isn't asked for counts."""
    if len(value) != 1:
        return value
    name, inner = next(iter(value.items()))
    if name in ("concat", "range"):
        # In rules there may be expressions in it.
        return value if any(isinstance(part, dict) for part in inner) else _text(value)
    return _text(value) if name in ("elem", "prefix") or name in _WORDS else value


def counts(listing: Iterable[Mapping[str, Any]]) -> dict[Place, Count]:
    """Of listed sets, what their elements have counted, if anything."""
    return {
        (item[kind]["name"], element(listed)[0]): count
        for item in listing
        for kind in ("set", "map")
        if kind in item and "stmt" in item[kind]
        for listed in item[kind].get("elem", [])
        if (count := _count(listed)) is not None
    }


def inherited(
    counted: Mapping[Place, Count],
    gone: Moved,
    come: Moved,
    kinds: Mapping[str, tuple[str, tuple[str, ...]]],
) -> dict[Place, Count]:
    """What elements that come begin with. `kinds` are, by set, the group in which elements may follow one
    another, and what their fields say."""
    leaving = {
        name: [each for each in elements if (name, each[0]) in counted] for name, elements in gone.items()
    }
    groups = {kinds[name][0] for name, elements in leaving.items() if elements and name in kinds}
    heirs: defaultdict[tuple[str, str | None], list[tuple[Place, Box]]] = defaultdict(list)
    for place, mapped, made in _boxes(come, kinds, groups):
        heirs[kinds[place[0]][0], mapped].append((place, made))
    found: dict[Place, Count] = {}
    compared = 0
    for place, mapped, made in _boxes(leaving, kinds, groups):
        near = heirs.get((kinds[place[0]][0], mapped), [])
        compared += len(near)
        if compared > _MOST_COMPARED:
            break
        heir = next((heir for heir, other in near if _within(other, made) or _within(made, other)), None)
        if heir is not None:
            found[heir] = found.get(heir, Count(0, 0)) + counted[place]
    return found


def _boxes(
    moved: Moved, kinds: Mapping[str, tuple[str, tuple[str, ...]]], groups: Set[str]
) -> Iterator[tuple[Place, str | None, Box]]:
    for name, elements in moved.items():
        if name in kinds and kinds[name][0] in groups:
            for key, mapped in elements:
                yield (name, key), mapped, box(kinds[name][1], key.split(" . "))


def _within(inner: Box, outer: Box) -> bool:
    return all(
        field in inner and first <= inner[field][0] and inner[field][1] <= last
        for field, (first, last) in outer.items()
    )


def _count(listed: Any) -> Count | None:
    key = listed[0] if isinstance(listed, list) else listed
    found = key.get("elem", {}).get("counter") if isinstance(key, dict) else None
    return Count(found["packets"], found["bytes"]) if found and found["packets"] else None


def _text(value: Any) -> str:
    """An element, or what it maps to, as nft writes it."""
    if not isinstance(value, dict):
        return str(value)
    if "elem" in value:
        return _text(value["elem"]["val"])
    if "concat" in value:
        return " . ".join(map(_text, value["concat"]))
    if "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    if "range" in value:
        first, last = value["range"]
        return f"{first}-{last}"
    verdict, target = next(iter(value.items()))
    return f"{verdict} {target['target']}" if target else str(verdict)
