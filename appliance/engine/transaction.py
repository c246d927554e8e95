"""Make a host match a state, or put it back as it was."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.engine import checker
from appliance.engine import plan as planning
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Resource

log = logging.getLogger(__name__)
_ROUNDS = 3
"""A step may take away what an earlier one found in place: a link that is renamed goes down, and its
routes with it. The next round brings them back; what needs more rounds doesn't converge."""


class ConvergeError(Exception):
    """A state that the host could not be brought into; the text says which step failed and why."""


@dataclass(frozen=True)
class Outcome:
    plan: planning.Plan
    seconds: float


def converge(
    wanted: Iterable[Resource],
    host: Host,
    *,
    fresh: bool = False,
    before_step: Callable[[int], None] = lambda number: None,
) -> Outcome:
    """Plan, have the daemons' checkers look at it, apply, and verify by planning again.

    Raises CheckError with nothing touched, or ConvergeError with the steps up to the failed one taken.
    `before_step` is called with the number of each step about to be taken.
    """
    started = time.monotonic()
    plan = planning.make(wanted, host, fresh=fresh)
    checker.check(plan, host)
    rest, taken = plan, 0
    for _ in range(_ROUNDS):
        for change in rest.changes:
            before_step(taken)
            _take(change, host)
            taken += 1
        if rest.changes:
            before_step(taken)
            rest = planning.make(plan.wanted, host)
        if not rest.changes:
            return Outcome(plan=plan, seconds=time.monotonic() - started)
    host.seen.clear()
    steps = ", ".join(f"{change.action} {change.kind} {change.name}" for change in rest.changes[:5])
    raise ConvergeError(f"After applying, {len(rest.changes)} steps are still to take: {steps}")


def _take(change: Change, host: Host) -> None:
    log.info("%s %s %s %s", change.action, change.kind, change.name, change.detail)
    try:
        change.run()
    except Exception as error:
        host.seen.clear()
        what = f"{change.action} {change.kind.lower()} {change.name}"
        raise ConvergeError(f"Failed to {what}: {error}") from error
