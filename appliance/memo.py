"""Keep what was computed from a part of a document for as long as that part stays the same object.

A merge patch shares all that it doesn't touch, so of ten thousand items only the new one is computed.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

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
        return new.keys() == old.keys() and all(new[key] is old[key] for key in new)
    return False


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
