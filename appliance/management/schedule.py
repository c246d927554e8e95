"""What the push loop decides: pure functions of what the inventory knows and an agent says."""

from typing import Literal

from appliance.management.client import Status
from appliance.management.inventory import Appliance

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
"""Seconds; between them the delay doubles with every attempt that failed."""
POLL_INTERVAL = 30.0
"""Seconds between two looks at an appliance that is where it should be."""

Errand = Literal["push", "poll"]
Finding = Literal["right", "behind", "ahead"]
"""behind: what is wanted has to be pushed. ahead: it has to be numbered anew first."""


def back_off(attempts: int, chance: float) -> float:
    """Seconds to wait after `attempts` contacts in a row have failed.

    `chance`, in [0, 1), spreads it over the upper half: appliances that were lost together shouldn't be
    tried together for ever after.
    """
    whole = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(attempts, 1) - 1, 32))
    return whole * (0.5 + chance / 2)


def poll_delay(interval: float, chance: float) -> float:
    """Seconds until the next look: a tenth around the interval, so that looks spread out over it."""
    return interval * (0.95 + chance / 10)


def errand(appliance: Appliance) -> Errand:
    """What the next contact is for. What was refused is only looked after: another push would only be
    refused again. What was only out of reach is asked how it is: it may never have stopped being right."""
    if appliance.wanted == 0 or appliance.state == "refused":
        return "poll"
    if appliance.state in ("converged", "unreachable") and appliance.reported == appliance.wanted:
        return "poll"
    return "push"


def finding(appliance: Appliance, status: Status) -> Finding:
    """What an appliance's own word about itself means."""
    if appliance.wanted == 0:
        return "right"
    if appliance.state == "refused":
        # A machine that fell back since is another machine (rebuilt, from a newer image): ask it again.
        fell_back = appliance.reported is not None and status.generation < appliance.reported
        return "behind" if fell_back else "right"
    if status.generation > appliance.wanted:
        return "ahead"
    if status.generation < appliance.wanted or status.state != "converged":
        return "behind"
    if appliance.reported == status.generation and None not in (appliance.reported_digest, status.digest):
        return "right" if status.digest == appliance.reported_digest else "behind"
    return "right"
