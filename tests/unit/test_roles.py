"""A role is a package with a document, services, checks and problems."""

import pytest

from appliance import roles
from appliance.boot import Boot
from appliance.model import RefusedError, validated
from appliance.resources import Address, Link, Rule
from appliance.route import Route
from tests.examples import document, example

BOOT = {
    "role": "router", "name": "r1",
    "control": {"mac": "02:00:00:00:00:01", "address": "169.254.3.2/24", "gateway": "169.254.3.1"},
    "tls": {"ca": "", "certificate": "", "key": ""},
}  # fmt: skip


@pytest.mark.parametrize("name", list(roles.ROLES))
def test_every_role_is_whole(name: str) -> None:
    role = roles.role(name)
    assert role.SERVICES
    empty = roles.empty(name, "a1")
    assert (empty.role, empty.name, empty.generation) == (name, "a1", 0)
    assert role.problems(empty) == []
    assert list(roles.resources(empty)), "the empty document is safe: its firewall is up"
    assert list(role.checks(empty)) == []
    for place in role.SEALED:
        assert place[0] in role.Document.model_fields


def test_unknown_roles() -> None:
    with pytest.raises(roles.UnknownRoleError, match="router"):
        roles.read("toaster", {})


def test_problems_of_both_kinds_are_refusals() -> None:
    with pytest.raises(RefusedError, match="/bogus"):
        roles.read("router", {**example("minimal"), "bogus": 1})
    with pytest.raises(RefusedError, match="/source_nat/guest7"):
        roles.read("router", {**example("minimal"), "source_nat": {"guest7": {"address": "203.0.113.5"}}})


def test_the_control_interface_is_no_documents_business() -> None:
    boot = validated(Boot, BOOT)
    alone = list(roles.resources(document("minimal")))
    found = [item for item in roles.resources(document("minimal"), boot) if item not in alone]
    assert found == [
        Link(name="control0", mac="02:00:00:00:00:01"),
        Address(link="control0", address="169.254.3.2/24"),
        Rule(priority=100, table=100, source="169.254.3.2/32"),
        Route(destination="0.0.0.0/0", gateway="169.254.3.1", link="control0", table=100),
    ]
