"""Back-off arithmetic, and what follows from what an appliance says."""

import pytest

from appliance.boot import ControlInterface
from appliance.management.client import Status
from appliance.management.inventory import Appliance, State
from appliance.management.schedule import LONGEST_DELAY, back_off, errand, finding, poll_delay


def appliance(
    *, wanted: int = 5, reported: int | None = 5, state: State = "converged", digest: str | None = None
) -> Appliance:
    return Appliance(
        id=1, name="r1", role="router", port=8443, created=0, certificate_expires=None, wanted=wanted,
        control=ControlInterface(mac="02:00:00:00:00:01", address="169.254.3.2/24"),
        wanted_digest="d", state=state, problems=(), reported=reported, reported_digest=digest,
        last_error=None, last_contact=None, attempts=0, next_try=0,
    )  # fmt: skip


def status(generation: int, state: str = "converged", digest: str | None = None) -> Status:
    return Status(generation=generation, state=state, digest=digest, detail=None, answer={})


def test_back_off_doubles_up_to_a_minute() -> None:
    assert [back_off(n, 1) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [back_off(n, 0) for n in (1, 2, 9)] == [0.5, 1, 30]
    assert back_off(10_000, 0.999) <= LONGEST_DELAY
    assert back_off(0, 1) == 1


def test_polls_spread_around_their_interval() -> None:
    assert poll_delay(30, 0) == pytest.approx(28.5)
    assert poll_delay(30, 1) == pytest.approx(31.5)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (appliance(wanted=0, reported=None, state="pending"), "poll"),
        (appliance(reported=None, state="pending"), "push"),
        (appliance(reported=4, state="pending"), "push"),
        (appliance(reported=4, state="unreachable"), "push"),
        (appliance(reported=5, state="unreachable"), "poll"),
        (appliance(reported=5, state="failed"), "push"),
        (appliance(reported=5, state="degraded"), "push"),
        (appliance(reported=4, state="refused"), "poll"),
        (appliance(), "poll"),
    ],
)
def test_errand(known: Appliance, expected: str) -> None:
    assert errand(known) == expected


@pytest.mark.parametrize(
    ("known", "says", "expected"),
    [
        (appliance(), status(5), "right"),
        (appliance(), status(5, "drifted"), "behind"),
        (appliance(), status(5, "degraded"), "behind"),
        (appliance(), status(4), "behind"),
        (appliance(), status(0, "empty"), "behind"),
        (appliance(), status(6), "ahead"),
        (appliance(digest="a"), status(5, digest="a"), "right"),
        (appliance(digest="a"), status(5, digest="b"), "behind"),
        (appliance(digest="a"), status(5), "right"),
        (appliance(wanted=0, reported=None, state="pending"), status(3), "right"),
        (appliance(reported=4, state="refused"), status(4), "right"),
        (appliance(reported=4, state="refused"), status(0, "empty"), "behind"),
    ],
)
def test_finding(known: Appliance, says: Status, expected: str) -> None:
    assert finding(known, says) == expected
