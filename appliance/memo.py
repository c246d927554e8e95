"""Keep what was computed from a part of a document for as long as that part stays the same object.

A merge patch shares all that it doesn't touch, so of ten thousand items only the new one is computed. What
is left to do for the others is to see that they are the same objects: 30 ns each.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from operator import is_
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
    if len(new) == len(old) and all(map(is_, new.values(), old.values())) and list(new) == list(old):
        return []
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
                    results = {key: result for key, result in results.items() if key in items}
                    for key in changed:
                        results[key] = function(key, items[key], *args, **kwargs)
                del kept[place]
                break
        else:
            results = {key: function(key, item, *args, **kwargs) for key, item in items.items()}
        kept.insert(0, (items, context, results))
        del kept[_MOST_KEPT:]
        return results

    return remembering


class Pairs(Generic[K, A, B]):
    """The items of a mapping, each with what another mapping has under the same key: the very same pair as
    last time where both are the very same, so that `per_key` sees what did not change."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[K, tuple[A, B | None]]] = {}

    def of(self, place: str, first: Mapping[K, A], second: Mapping[K, B]) -> dict[K, tuple[A, B | None]]:
        """`place` says whose pairs they are: those of guest0, say."""
        kept, beside = self._kept.get(place, {}), second.get
        self._kept[place] = {
            key: pair
            if (pair := kept.get(key)) is not None and pair[0] is item and pair[1] is beside(key)
            else (item, beside(key))
            for key, item in first.items()
        }
        return self._kept[place]


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

        return remembering

    return decorate
