"""Which connections pass the firewall by."""

from typing import Any

import pytest

from appliance.resources import FastPath, Resource
from router import fast_path, role
from tests.examples import example, read

LINKS = ("guest0", "guest1", "public0")


def wanted(**sections: Any) -> list[Resource]:
    return list(fast_path.resources(read({**example("two-networks"), **sections})))


@pytest.mark.parametrize(
    ("accounting", "counted"),
    [
        ({}, True),
        ({"networks": False}, True),
        ({"networks": False, "addresses": False}, False),
        (None, False),
    ],
)
def test_between_all_but_the_control_interface(accounting: Any, counted: bool) -> None:
    (path,) = wanted(accounting=accounting)
    assert path == FastPath(table="sysvm", links=LINKS, counted=counted)


def test_the_document_may_say_no() -> None:
    assert wanted(fast_path=False) == []


def test_who_has_a_rate_is_kept_out() -> None:
    (before,) = wanted()
    seen = {before}
    for limits in (
        {"guests": {"10.1.1.10": {"sent": {"rate": 1_000_000}}}},
        {"guests": {"10.1.1.11": {"received": {"rate": 1_000_000}}}},
        {"networks": {"guest0": {"sent": {"rate": 1_000_000}}}},
        {"addresses": {"203.0.113.5": {"sent": {"rate": 1_000_000}}}},
    ):
        (path,) = wanted(limits=limits)
        assert isinstance(path, FastPath) and path.kept_out
        seen.add(path)
    assert len(seen) == 5, "another circle of them makes those in the flowtable come anew"
    # Another rate, or a limit of connections, changes nothing about who they are.
    assert wanted(limits={"guests": {"10.1.1.10": {"connections": 5}}}) == [before]
    assert wanted(limits={"guests": {"10.1.1.10": {"sent": {"rate": 2_000_000}}}})[0] in seen


def test_without_links_there_is_none() -> None:
    nothing = read({"role": "router", "name": "r1", "generation": 1})
    assert list(fast_path.resources(nothing)) == []
    assert fast_path in role.SERVICES
