"""An ordered list of rules as layers of disjoint ones: the first match is found with a lookup for each
layer, however many rules there are.

A rule is in the layer behind all those of earlier rules that it overlaps. Real lists are a few layers deep:
rules about different hosts or ports don't overlap, and what denies the rest comes last.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from router.elements import Span

_FEW = 16
"""So many rules behind one that comes or goes are looked at whether they stay."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network as its length and its leading bits."""

    length: int
    bits: int

    def shortened(self, length: int) -> int:
        return self.bits >> (self.length - length)

    def span(self, width: int) -> Span:
        """First and last address, of so many bits."""
        rest = width - self.length
        return self.bits << rest, ((self.bits + 1) << rest) - 1


Box = tuple[Prefix, Span]


class Rule(NamedTuple):
    number: int
    """Its place: no two have the same."""
    boxes: tuple[Box, ...]


class _Union:
    """Spans, those that overlap made one."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def meets(self, span: Span) -> bool:
        before = bisect_right(self._firsts, span[1])
        return before > 0 and self._lasts[before - 1] >= span[0]

    def add(self, span: Span) -> None:
        begin = bisect_left(self._lasts, span[0])
        end = bisect_right(self._firsts, span[1])
        first, last = span
        if begin < end:
            first, last = min(first, self._firsts[begin]), max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]


class _Layered:
    """Spans by their layer."""

    __slots__ = ("_layers",)

    def __init__(self) -> None:
        self._layers: list[_Union] = []

    def deepest(self, span: Span) -> int:
        """The last layer with a span that overlaps this one; -1 where none does."""
        for layer in range(len(self._layers) - 1, -1, -1):
            if self._layers[layer].meets(span):
                return layer
        return -1

    def add(self, span: Span, layer: int) -> None:
        while len(self._layers) <= layer:
            self._layers.append(_Union())
        self._layers[layer].add(span)


class Layers:
    """Rules in their order, each some boxes of a prefix and a span. `lengths` are all those of prefixes to
    come."""

    def __init__(self, lengths: Iterable[int]) -> None:
        self._lengths = sorted(set(lengths))
        self._at: dict[Prefix, _Layered] = {}
        self._below: dict[Prefix, _Layered] = {}

    def layer(self, boxes: Iterable[Box]) -> int:
        """The layer of the next rule, counted from 0."""
        boxes = list(boxes)
        found = max((self._deepest(prefix, span) for prefix, span in boxes), default=-1) + 1
        for prefix, span in boxes:
            self._at.setdefault(prefix, _Layered()).add(span, found)
            for wider in self._wider(prefix):
                self._below.setdefault(wider, _Layered()).add(span, found)
        return found

    def _deepest(self, prefix: Prefix, span: Span) -> int:
        within = [self._at.get(wider) for wider in self._wider(prefix)]
        near = (*within, self._at.get(prefix), self._below.get(prefix))
        return max((layered.deepest(span) for layered in near if layered is not None), default=-1)

    def _wider(self, prefix: Prefix) -> Iterator[Prefix]:
        for length in self._lengths:
            if length >= prefix.length:
                return
            yield Prefix(length, prefix.shortened(length))


class Layering:
    """The layer of each rule, by name. A few rules that come or go are placed without a look at all the
    others' places, but for those few that have to move for them."""

    def __init__(self, rules: Mapping[str, Rule], width: int) -> None:
        """`width` is an address's, in bits."""
        self._width = width
        tower = Layers(prefix.length for rule in rules.values() for prefix, _ in rule.boxes)
        self._rules = dict(rules)
        ordered = sorted(rules, key=lambda name: rules[name].number)
        self.layers = {name: tower.layer(rules[name].boxes) for name in ordered}
        self._placed = [box for name, rule in rules.items() for box in self._flat(name, rule)]

    def add(self, name: str, rule: Rule) -> dict[str, int] | None:
        """Place one more; the layers that others had before they moved for it. None, and nothing done, where
        too many might."""
        met = self._met(rule)
        layer = max((self.layers[other] for number, other in met if number < rule.number), default=-1) + 1
        behind = [
            (number, other) for number, other in met if number > rule.number and self.layers[other] <= layer
        ]
        moved = self._moved(behind, {name: layer}, beside=(name, rule))
        if moved is None:
            return None
        self._rules[name] = rule
        self.layers[name] = layer
        self._placed += self._flat(name, rule)
        return self._move(moved)

    def remove(self, name: str) -> dict[str, int] | None:
        """Take one away; as `add`."""
        rule, layer = self._rules[name], self.layers[name]
        behind = [
            (number, other)
            for number, other in self._met(rule)
            if number > rule.number and self.layers[other] == layer + 1
        ]
        moved = self._moved(behind, {name: -1})
        if moved is None:
            return None
        del self.layers[name], self._rules[name]
        self._placed = [box for box in self._placed if box[-1] != name]
        return self._move(moved)

    def _moved(
        self,
        behind: list[tuple[int, str]],
        layers: dict[str, int],
        *,
        beside: tuple[str, Rule] | None = None,
    ) -> dict[str, int] | None:
        """Where those behind a rule that comes or goes are to be, and those behind these, in their order.
        `layers` is where that rule will be; `beside` the rule, if it isn't placed yet."""
        waiting = sorted(set(behind))
        found: dict[str, int] = {}
        for _ in range(_FEW):
            if not waiting:
                return found
            number, name = waiting.pop(0)
            met = self._met(self._rules[name])
            if beside is not None and _overlap(beside[1], self._rules[name]):
                met.add((beside[1].number, beside[0]))
            at = {other: layers.get(other, self.layers.get(other, -1)) for _, other in met}
            layer = max((at[other] for place, other in met if place < number), default=-1) + 1
            before = self.layers[name]
            if layer != before:
                layers[name] = found[name] = layer
                least, most = min(before, layer), max(before, layer)
                more = {
                    (place, other)
                    for place, other in met
                    if place > number and least <= at[other] <= most + 1
                }
                waiting = sorted(more.union(waiting))
        return found if not waiting else None

    def _move(self, layers: Mapping[str, int]) -> dict[str, int]:
        before = {name: self.layers[name] for name in layers}
        self.layers.update(layers)
        return before

    def _flat(self, name: str, rule: Rule) -> Iterator[tuple[int, int, int, int, int, str]]:
        for prefix, span in rule.boxes:
            yield (*prefix.span(self._width), *span, rule.number, name)

    def _met(self, rule: Rule) -> set[tuple[int, str]]:
        """Number and name of the rules that overlap this one, itself aside."""
        found = set()
        for prefix, (first, last) in rule.boxes:
            begin, end = prefix.span(self._width)
            found |= {
                (number, name)
                for low, high, least, most, number, name in self._placed
                if low <= end and high >= begin and least <= last and most >= first and number != rule.number
            }
        return found


def _overlap(one: Rule, other: Rule) -> bool:
    return any(
        span[0] <= far[1] and span[1] >= far[0] and _related(prefix, near)
        for prefix, span in one.boxes
        for near, far in other.boxes
    )


def _related(one: Prefix, other: Prefix) -> bool:
    """Whether one is within the other."""
    length = min(one.length, other.length)
    return one.shortened(length) == other.shortened(length)
