"""Routes, their next hops, and how these are watched."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A route (rtnetlink RTM_NEWROUTE); `destination` is a CIDR, `0.0.0.0/0` the default route. `onlink`:
    the gateway is on the link, whatever addresses that has. In place of a gateway it has `next_hops` for
    flows to be shared out (RTA_MULTIPATH). With a `watch` only those hops are in it that answer. `local`: it
    leads to this machine itself, by the link `lo`."""

    destination: str
    gateway: str | None = None
    link: str | None = None
    metric: int = 0
    table: int = 254
    onlink: bool = False
    local: bool = False
    next_hops: tuple[NextHop, ...] = ()
    watch: Watch | None = None

    @property
    def hops(self) -> tuple[NextHop, ...]:
        return (NextHop(self.gateway, self.link),) if self.gateway and self.link else self.next_hops
