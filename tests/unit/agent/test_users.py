"""What remote users reach as they are connected, and which connections end as that changes."""

from dataclasses import replace
from typing import Any

from appliance.admission import Users
from appliance.engine import flows, users
from appliance.engine.conntrack import Connection
from appliance.model import merge_patch
from appliance.resources import Ruleset
from tests.examples import example
from tests.unit.router.tracked import seen, table

USERS = Users(
    sets=("user_pairs4", "user_pairs6"),
    reached={"alice": ("10.1.1.0/24", "fd00:1::/64"), "bob": ("10.1.16.0/20",), "carol": ()},
)
ALICE, ALICE6, BOB, NOBODY = "10.200.0.1", "fd00:c8::1", "10.201.0.2", "10.200.0.9"


def test_each_address_has_what_its_user_reaches() -> None:
    here = {ALICE: "alice", ALICE6: "alice", BOB: "bob", "10.200.0.3": "carol", "10.200.0.4": "gone"}
    assert users.elements(USERS, here, {}) == {
        "user_pairs4": {f"10.1.1.0/24 . {ALICE}": None, f"10.1.16.0/20 . {BOB}": None},
        "user_pairs6": {f"fd00:1::/64 . {ALICE6}": None},
    }


def test_what_is_nobodys_stays_and_what_is_anothers_goes() -> None:
    there: Any = {
        "user_pairs4": {
            f"10.1.1.0/24 . {NOBODY}": None,
            f"10.9.9.0/24 . {NOBODY}": None,
            f"10.1.16.0/20 . {ALICE}": None,
        }
    }
    found = users.elements(USERS, {ALICE: "alice"}, there)
    assert set(found["user_pairs4"]) == {f"10.1.1.0/24 . {NOBODY}", f"10.1.1.0/24 . {ALICE}"}


HERS = seen(ALICE, "10.1.1.10", 80)
TO_HER = seen("10.1.1.10", ALICE, 22)
HERS6 = seen(ALICE6, "fd00:1::10", 80)
HIS = seen(BOB, "10.1.16.10", 80)
ALL = (HERS, TO_HER, HERS6, HIS)


def connected(reach: dict[str, Any]) -> Ruleset:
    fields = {name: {"reach": links} for name, links in reach.items()}
    made = table(merge_patch(example("everything"), {"remote_access": {"users": fields}}))
    here = {ALICE: "alice", ALICE6: "alice", BOB: "bob@example.org"}
    own = users.elements(made.users, here, {}) if made.users is not None else {}
    return replace(made, elements={**made.elements, **own})


def ended(before: dict[str, Any], after: dict[str, Any]) -> set[Connection]:
    old, new = connected(before), connected(after)
    return set(flows._ending(new, flows.gone(new, old.elements), ALL))


def test_what_a_user_reaches_no_more_ends_and_all_else_stays() -> None:
    assert ended({"alice": ["guest0"]}, {"alice": ["guest1"]}) == {HERS, TO_HER, HERS6}
    assert ended({"alice": ["guest0"]}, {"alice": ["guest0", "guest1"]}) == set()
    assert ended({}, {"bob@example.org": []}) == {HIS}
    assert ended({}, {"alice": ["guest1"], "bob@example.org": ["guest1"]}) == {HERS, TO_HER, HERS6}


def test_from_all_alike_to_each_his_own_and_back() -> None:
    alike: dict[str, Any] = {"alice": None, "bob@example.org": None}
    assert ended(alike, {"bob@example.org": ["guest1"]}) == set()
    assert ended(alike, {"alice": ["guest1"]}) == {HERS, TO_HER, HERS6}
    assert ended({"bob@example.org": ["guest0"]}, alike) == set()
    assert ended({"bob@example.org": ["guest1"]}, alike) == {HIS}
