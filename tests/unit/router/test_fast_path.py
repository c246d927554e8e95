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


def test_without_links_there_is_none() -> None:
    nothing = read({"role": "router", "name": "r1", "generation": 1})
    assert list(fast_path.resources(nothing)) == []
    assert fast_path in role.SERVICES
