"""Keep what was computed from a part of a document for as long as that part stays the same object.

A merge patch shares all that it doesn't touch, so of ten thousand items only the new one is computed. What
is left to do for the others is to see that they are the same objects: 30 ns each.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import islice
from operator import eq, is_
from typing import Concatenate, Generic, ParamSpec, TypeVar

from appliance.model import Model

M = TypeVar("M", bound=Model)
P = ParamSpec("P")
R = TypeVar("R")


def per_item(function: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """Remember the last result for an item and the further arguments it was computed with."""
    slot = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def remembering(item: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        kept = item.__dict__.get(slot)
        # A changed copy (`model_copy`) takes the slot along with the fields; the result isn't its own.
        asked = (id(item), args, kwargs)
        if kept is not None and kept[0] == asked:
            result: R = kept[1]
            return result
        result = function(item, *args, **kwargs)
        item.__dict__[slot] = (asked, result)
        return result

    return remembering


def unchanged(new: object, old: object) -> bool:
    """Whether a section is the very same, or a mapping of the very same items."""
    if new is old:
        return True
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return new.keys() == old.keys() and not different(new, old)
    return False


K = TypeVar("K")
V = TypeVar("V")
A = TypeVar("A")
B = TypeVar("B")


def different(new: Mapping[K, V], old: Mapping[K, V]) -> list[K]:
    """The keys of `new` whose item is not the very same in `old`."""
    if new is old:
        return []
    if len(new) >= len(old) and all(map(is_, new.values(), old.values())) and all(map(eq, new, old)):
        # What a patch adds comes last; seen without a step of Python's for each of the others.
        return list(islice(new, len(old), None))
    get = old.get
    return [key for key, item in new.items() if get(key) is not item]


def per_key(
    function: Callable[Concatenate[K, V, P], R],
) -> Callable[Concatenate[Mapping[K, V], P], dict[K, R]]:
    """A function of one item of a mapping (its key, the item, what else it depends on) as a function of the
    whole mapping, which computes only what is not the very same item as the last time it was called with
    equal further arguments. The same mapping of results comes back if nothing changed; it is not to be
    changed. The order of the results may be another one than that of the items.
    """
    kept: list[tuple[Mapping[K, V], tuple[object, ...], dict[K, R]]] = []

    @wraps(function)
    def remembering(items: Mapping[K, V], /, *args: P.args, **kwargs: P.kwargs) -> dict[K, R]:
        context = (*args, *kwargs.values())
        for place, (old, before, results) in enumerate(kept):
            if same(context, before):
                changed = different(items, old)
                if changed or len(items) != len(old):
                    made = {key: function(key, items[key], *args, **kwargs) for key in changed}
                    results = updated(results, made, items)
                del kept[place]
                break
        else:
            results = {key: function(key, item, *args, **kwargs) for key, item in items.items()}
        kept.insert(0, (items, context, results))
        del kept[_MOST_KEPT:]
        return results

    return remembering


def updated(old: Mapping[K, R], made: Mapping[K, R], keys: Mapping[K, object]) -> dict[K, R]:
    """The old results with those that were made anew, and without those that have no key any more."""
    results = {**old, **made}
    if len(results) != len(keys):
        for key in results.keys() - keys.keys():
            del results[key]
    return results


class Pairs(Generic[K, A, B]):
    """The items of a mapping, each with what another mapping has under the same key: the very same pair as
    last time where both are the very same, so that `per_key` sees what did not change."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Mapping[K, A], Mapping[K, B], dict[K, tuple[A, B | None]]]] = {}

    def of(self, place: str, first: Mapping[K, A], second: Mapping[K, B]) -> dict[K, tuple[A, B | None]]:
        """`place` says whose pairs they are: those of guest0, say."""
        old_first, old_second, pairs = self._kept.get(place, ({}, {}, {}))
        beside = [*different(second, old_second), *(old_second.keys() - second.keys())]
        changed = dict.fromkeys([*different(first, old_first), *(key for key in beside if key in first)])
        if changed or len(first) != len(old_first):
            pairs = updated(pairs, {key: (first[key], second.get(key)) for key in changed}, first)
        self._kept[place] = first, second, pairs
        return pairs


_MOST_KEPT = 64
"""Networks of one appliance, say: each is another context."""


def same(new: Sequence[object], old: Sequence[object]) -> bool:
    """Whether these are equal one by one, looking first whether they are the very same: comparing two
    models costs microseconds, and that is done ten thousand times."""
    return len(new) == len(old) and all(a is b or a == b for a, b in zip(new, old, strict=True))


D = TypeVar("D", bound=Model)


def per_sections(*names: str) -> Callable[[Callable[[D], R]], Callable[[D], R]]:
    """Remember a function's last result for as long as these sections of the document are unchanged."""

    def decorate(function: Callable[[D], R]) -> Callable[[D], R]:
        kept: list[tuple[list[object], R]] = []

        @wraps(function)
        def remembering(document: D) -> R:
            sections = [getattr(document, name) for name in names]
            if kept and all(map(unchanged, sections, kept[0][0])):
                return kept[0][1]
            result = function(document)
            kept[:] = [(sections, result)]
            return result

        remembering.sections = names  # type: ignore[attr-defined]
        return remembering

    return decorate
