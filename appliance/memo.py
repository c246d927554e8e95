"""Keep what was computed from one item of a document with that item.

A merge patch shares all items that it doesn't touch, so of ten thousand only the new one is computed.
"""

from collections.abc import Callable
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
        if kept is not None and kept[0] == args:
            result: R = kept[1]
            return result
        result = function(item, *args, **kwargs)
        item.__dict__[slot] = (args, result)
        return result

    return remembering
