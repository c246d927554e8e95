"""How many faults count now.

The two routers don't see a fault that both have at the same moment, nor its end; who sees it a moment
earlier mustn't lose, or win, the pair by that. So the backup counts a fault at once and for a while after
its end, and the primary only once it has lasted a while, and no longer than it does.
"""

from collections.abc import Sequence

SETTLE_SECONDS = 2.0
"""Longer than the two can differ in what they see: a probe's interval and a look at it."""


class Weights:
    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def count(self, faults: Sequence[str], *, primary: bool, now: float) -> int:
        """Of these faults, sentences as of `now` (monotonic seconds). A link without a carrier is seen by
        both within a moment, and waits for nothing on the primary."""
        for fault in faults:
            self._since.setdefault(fault, now)
            self._until[fault] = now
        for fault in [fault for fault, at in self._until.items() if now - at > SETTLE_SECONDS]:
            del self._until[fault]
        for fault in self._since.keys() - set(faults):
            del self._since[fault]
        if not primary:
            return len(self._until)
        return sum(
            1
            for fault in faults
            if now - self._since[fault] >= SETTLE_SECONDS or fault.endswith("has no carrier")
        )
