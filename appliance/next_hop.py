"""Next hops of routes, and how they are watched."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class NextHop:
    gateway: str
    link: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Watch:
    """How next hops are asked whether they are there."""

    probe: Literal["neighbour", "ping"]
    seconds: float
    """Between two questions."""
    losses: int
    """So many unanswered ones in a row: it is gone."""
    answers: int
    """So many answered ones in a row: it is back."""
