"""Which traffic is counted."""

from typing import Any

import pytest

from appliance.resources import Counter
from router import accounting
from tests.examples import example, read

NETWORKS = [("network", "guest0"), ("network", "guest1")]
ADDRESSES = [("address", "203.0.113.5"), ("address", "203.0.113.6")]


@pytest.mark.parametrize(
    ("section", "counters"),
    [
        (None, []),
        ({}, NETWORKS + ADDRESSES),
        ({"networks": False}, ADDRESSES),
        ({"addresses": False}, NETWORKS),
    ],
)
def test_counters(section: Any, counters: list[tuple[str, str]]) -> None:
    value = example("two-networks")
    if section is not None:
        value["accounting"] = section
    found = list(accounting.resources(read(value)))
    assert all(isinstance(counter, Counter) for counter in found)
    assert [(counter.kind, counter.of) for counter in found if isinstance(counter, Counter)] == counters
