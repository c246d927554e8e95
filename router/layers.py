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
"""So many rules behind one that goes are looked at whether they stay."""


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
    others' places, where that is what doing so would find."""

    def __init__(self, rules: Mapping[str, Rule], width: int) -> None:
        """`width` is an address's, in bits."""
        self._width = width
        tower = Layers(prefix.length for rule in rules.values() for prefix, _ in rule.boxes)
        ordered = sorted(rules, key=lambda name: rules[name].number)
        self.layers = {name: tower.layer(rules[name].boxes) for name in ordered}
        self._placed = [
            box for name, rule in rules.items() for box in self._flat(name, rule, self.layers[name])
        ]

    def add(self, name: str, rule: Rule) -> bool:
        """Place one more. False, and nothing done, where others would have to move."""
        met = self._met(rule)
        layer = max((at for number, _, at in met if number < rule.number), default=-1) + 1
        if any(number > rule.number and at <= layer for number, _, at in met):
            return False
        self.layers[name] = layer
        self._placed += self._flat(name, rule, layer)
        return True

    def remove(self, name: str, rule: Rule) -> bool:
        """Take one away. False, and nothing done, where others might move."""
        layer = self.layers[name]
        behind = {other for number, other, at in self._met(rule) if number > rule.number and at == layer + 1}
        # One that lies upon another rule of the same layer, too, stays where it is.
        if len(behind) > _FEW or not all(self._held(other, layer, without=name) for other in behind):
            return False
        del self.layers[name]
        self._placed = [box for box in self._placed if box[-1] != name]
        return True

    def _held(self, name: str, layer: int, *, without: str) -> bool:
        """Whether an earlier rule of this layer is overlapped, another one than that."""
        own = [box for box in self._placed if box[-1] == name]
        return any(
            low <= own_high and high >= own_low and least <= own_most and most >= own_least
            for own_low, own_high, own_least, own_most, own_number, _, _ in own
            for low, high, least, most, number, at, other in self._placed
            if at == layer and number < own_number and other != without
        )

    def _flat(self, name: str, rule: Rule, layer: int) -> Iterator[tuple[int, int, int, int, int, int, str]]:
        for prefix, span in rule.boxes:
            yield (*prefix.span(self._width), *span, rule.number, layer, name)

    def _met(self, rule: Rule) -> set[tuple[int, str, int]]:
        """Number, name and layer of the rules that overlap this one, itself aside."""
        found = set()
        for prefix, (first, last) in rule.boxes:
            begin, end = prefix.span(self._width)
            found |= {
                (number, name, layer)
                for low, high, least, most, number, layer, name in self._placed
                if low <= end and high >= begin and least <= last and most >= first and number != rule.number
            }
        return found
