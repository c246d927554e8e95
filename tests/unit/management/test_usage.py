"""Sums of traffic totals."""

from appliance.management.usage import added, begun_anew

ONE = {"network-guest0": {"sent": {"bytes": 10, "packets": 1}, "received": {"bytes": 5}}}


def test_a_sum_has_what_either_has() -> None:
    other = {"network-guest0": {"sent": {"bytes": 3}}, "vpn-vpn0/alice": {"sent": {"bytes": 7}}}
    assert added(ONE, other) == {
        "network-guest0": {"sent": {"bytes": 13, "packets": 1}, "received": {"bytes": 5}},
        "vpn-vpn0/alice": {"sent": {"bytes": 7}},
    }
    assert added(ONE, {}) == added({}, ONE) == ONE


def test_what_counts_from_0_again_has_begun_anew() -> None:
    grown = {"network-guest0": {"sent": {"bytes": 10, "packets": 2}, "received": {"bytes": 5}}}
    assert added(begun_anew(ONE, grown), {}) == {}
    less = {"network-guest0": {"sent": {"bytes": 4, "packets": 2}, "received": {"bytes": 5}}}
    assert added(begun_anew(ONE, less), {}) == {"network-guest0": {"sent": {"bytes": 10}}}
    assert added(begun_anew(ONE, {}), {}) == ONE
