"""Elements of the filter's sets, with what each says of a packet and what of the document made it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from appliance.agent.explanation import Stage
from appliance.engine.boxes import span
from router.document import RouterDocument
from router.elements import Span

_SET = re.compile(r"(?:(\w+) )?@(\w+)")
Box = Mapping[str, Span | str]
"""What an element says of a packet, by field; a text is a link's name."""


class Made(NamedTuple):
    """An element of a set, or a part of one, and the item that made it."""

    set: str
    """Its name; with what a rule looks up in it last (`saddr @peers4`) where that makes a difference."""
    box: Box
    pointer: str


Maker = Callable[[RouterDocument], Iterator[Made]]


def named(rule: str) -> set[str]:
    """The sets that a rule asks, with and without what it looks up in them last."""
    found = set()
    for before, name in _SET.findall(rule):
        name = name.replace("_crowd", "_ports")
        found |= {name, f"{before} @{name}"}
    return found


def holds(box: Box, stage: Stage) -> bool:
    return all(_agrees(value, field, stage) for field, value in box.items())


def _agrees(value: Span | str, field: str, stage: Stage) -> bool:
    if isinstance(value, str):
        return value == (stage.link_in if field == "link_in" else stage.link_out)
    if field == "icmp_code":
        # A probe's is 0.
        return value[0] == 0
    if field in ("source", "destination"):
        text = getattr(stage.packet, field)
        return value[0] <= span(text)[0] <= value[1]
    seen: int = getattr(stage.packet, field)
    return value[0] <= seen <= value[1]


def boxed(fields: Sequence[str], element: str) -> Mapping[str, Span]:
    return dict(zip(fields, map(span, element.split(" . ")), strict=True))
