"""Load balancers whose servers see clients' own addresses: HAProxy's lines, and the way of the answers."""

from typing import Any

from appliance.resources import Rule, Ruleset
from appliance.route import Route
from router import ruleset, transparent
from tests.examples import read
from tests.unit.router.test_load_balancing import balancers, one

MARKED = f"fib daddr type != local socket transparent 1 meta mark set {transparent.MARK:#x}"


def filter_of(value: dict[str, Any]) -> str:
    (found,) = (item for item in ruleset.resources(read(value)) if isinstance(item, Ruleset))
    return found.text


def test_nobody_pays_for_it_who_has_it_not() -> None:
    assert list(transparent.resources(read(one()))) == []
    assert "socket transparent" not in filter_of(one())
    found = balancers(one())
    assert "setcap" not in found.text
    assert "usesrc" not in found.backends["web"].text


def test_connections_come_from_clients_and_answers_come_back() -> None:
    value = one(transparent=True, groups={"g": {}})
    found = balancers(value)
    assert "    setcap cap_net_raw\n" in found.text
    for backend in found.backends.values():
        assert "    source 0.0.0.0 usesrc clientip\n" in backend.text
    assert filter_of(value).count(MARKED) == 1
    assert list(transparent.resources(read(value))) == [
        Rule(priority=140, table=900, mark=transparent.MARK),
        Route(destination="0.0.0.0/0", link="lo", table=900, local=True),
    ]


def test_both_families() -> None:
    servers = {"s": {"address": "fd00:1::9"}}
    value = one(address="2001:db8::5", servers=servers, transparent=True)
    assert "    source [::] usesrc clientip\n" in balancers(value).backends["web"].text
    assert list(transparent.resources(read(value))) == [
        Rule(priority=140, table=900, mark=transparent.MARK, version=6),
        Route(destination="::/0", link="lo", table=900, local=True),
    ]
    value["load_balancers"]["four"] = one(transparent=True, port=81)["load_balancers"]["web"]
    assert len(list(transparent.resources(read(value)))) == 4
