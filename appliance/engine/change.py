"""A step of a plan."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["create", "update", "delete", "start", "stop", "reload", "restart"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing to do. `run` does it; `detail` tells a person what, and never contains a secret."""

    kind: str
    name: str
    action: Action
    detail: str = ""
    writes: tuple[str, ...] = ()
    """Paths whose content this replaces: the units that loaded them must load them again."""
    run: Callable[[], None] = field(repr=False, compare=False)

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "action": self.action, "detail": self.detail}
