"""A fault of both routers moves nothing, whoever sees it first."""

import pytest

from router.pair.weights import SETTLE_SECONDS, Weights

GATEWAY = "Gateway 203.0.113.1 on public0 doesn't answer"
LINK = "public0 has no carrier"


@pytest.mark.parametrize(("sees_it", "sees_its_end"), [(0.0, 0.0), (1.5, 0.0), (0.0, 1.5), (1.5, 1.5)])
def test_the_primary_never_has_more_of_a_fault_that_both_have(sees_it: float, sees_its_end: float) -> None:
    """The backup sees it, or its end, so much later than the primary; or the other way round."""
    for early, late in ((0.0, 1.0), (1.0, 0.0)):
        primary, backup = Weights(), Weights()
        for tick in range(200):
            now = tick / 10
            begins, ends = 2.0, 10.0
            mine = [GATEWAY] if begins + early * sees_it <= now < ends + early * sees_its_end else []
            theirs = [GATEWAY] if begins + late * sees_it <= now < ends + late * sees_its_end else []
            ours = primary.count(mine, primary=True, now=now)
            assert ours <= backup.count(theirs, primary=False, now=now), now


def test_a_fault_of_the_primary_alone_counts_once_it_lasts() -> None:
    weights = Weights()
    assert weights.count([GATEWAY], primary=True, now=0) == 0
    assert weights.count([GATEWAY], primary=True, now=SETTLE_SECONDS) == 1
    assert weights.count([], primary=True, now=SETTLE_SECONDS + 0.1) == 0
    assert weights.count([GATEWAY], primary=True, now=SETTLE_SECONDS + 0.2) == 0, "it begins anew"


def test_a_link_that_fails_counts_at_once() -> None:
    assert Weights().count([LINK, GATEWAY], primary=True, now=0) == 1
    assert Weights().count([LINK, GATEWAY], primary=False, now=0) == 2
