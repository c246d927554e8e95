"""Load balancers of udp: who gets which share of the slots."""

from typing import Any

import pytest

from router import udp_balancing
from router.udp_balancing import SETS, SLOTS
from tests.examples import example, read


def elements(**fields: Any) -> dict[str, dict[str, str | None]]:
    value = example("everything")
    servers = {"ns1": {"address": "10.1.1.10"}, "ns2": {"address": "10.1.1.11", "port": 5353}}
    item = {"address": "203.0.113.5", "port": 53, "mode": "udp", "servers": servers, **fields}
    value["load_balancers"] = {"names": item}
    found = udp_balancing.elements(read(value))
    assert list(found) == SETS
    return {name: items for name, items in found.items() if items}


def server(number: int, **fields: Any) -> dict[str, Any]:
    return {"address": f"10.1.1.{number}", **fields}


def test_equal_shares() -> None:
    assert elements() == {
        "udp_chance4": {
            "53 . 203.0.113.5 . 0-8191": "10.1.1.10 . 53",
            "53 . 203.0.113.5 . 8192-16383": "10.1.1.11 . 5353",
        }
    }


@pytest.mark.parametrize("fields", [{"algorithm": "source"}, {"stickiness": {"source": {}}}])
def test_by_source(fields: dict[str, Any]) -> None:
    assert elements(**fields).keys() == {"udp_source4"}


def test_weights_share_all_slots() -> None:
    servers = {f"s{number}": server(number, weight=number) for number in range(10, 60)}
    (found,) = elements(servers=servers).values()
    assert len(found) == len(servers)
    spans = [tuple(map(int, key.rpartition(" . ")[2].split("-"))) for key in found]
    assert [slot for first, last in spans for slot in range(first, last + 1)] == list(range(SLOTS))
    total = sum(range(10, 60))
    for (first, last), number in zip(spans, range(10, 60), strict=True):
        assert abs((last - first + 1) - SLOTS * number / total) <= 1


def test_who_gets_new_flows() -> None:
    backup = server(12, backup=True)
    servers = {"a": server(10), "b": server(11, state="drain"), "c": backup}
    assert set(elements(servers=servers)["udp_chance4"].values()) == {"10.1.1.10 . 53"}
    servers["a"] = server(10, state="maintenance")
    assert set(elements(servers=servers)["udp_chance4"].values()) == {"10.1.1.12 . 53"}
    servers["c"] = {**backup, "state": "drain"}
    # Nobody; but all are there for the flows they have.
    assert elements(servers=servers).keys() == {"udp_resting4"}
    assert len(elements(servers=servers)["udp_resting4"]) == 3
    assert elements(servers={}) == {}


def test_chosen_sources() -> None:
    found = elements(source_cidrs=["192.0.2.0/25", "192.0.2.128/25", "198.51.100.7/32"])
    assert found["udp_limited4"] == {"53 . 203.0.113.5": None}
    assert found["udp_sources4"] == {
        "53 . 203.0.113.5 . 192.0.2.0/24": None,
        "53 . 203.0.113.5 . 198.51.100.7": None,
    }


def test_both_families() -> None:
    servers = {"ns1": {"address": "fd00:1::10"}}
    found = elements(address="2001:db8::5", servers=servers, source_cidrs=["2001:db8:1::/48"])
    assert found == {
        "udp_chance6": {"53 . 2001:db8::5 . 0-16383": "fd00:1::10 . 53"},
        "udp_limited6": {"53 . 2001:db8::5": None},
        "udp_sources6": {"53 . 2001:db8::5 . 2001:db8:1::/48": None},
    }
