"""What may pass between tunnels and networks."""

from typing import Any

import pytest

from appliance.model import merge_patch
from appliance.resources import File
from router import tunnel_filter
from router.elements import Elements
from tests.examples import document, example, read

ALIKE = merge_patch(
    example("everything"), {"remote_access": {"users": {"bob@example.org": {"reach": None}}}}
)


def elements(patch: dict[str, Any] | None = None) -> Elements:
    """With users who all reach the same."""
    return tunnel_filter.elements(read(merge_patch(ALIKE, patch or {})))


def test_without_tunnels_there_is_nothing() -> None:
    assert tunnel_filter.elements(document("minimal")) == {}
    assert tunnel_filter.tunnel_filter(document("minimal")) is None


def test_pairs() -> None:
    found = elements()
    assert set(found["tunnel_pairs4"]) == {
        "10.1.1.0/24 . 192.168.5.0/24",
        "10.1.16.0/20 . 192.168.6.0/24",
        "10.1.1.0/24 . 192.168.7.0/24",
        "10.1.1.0/24 . 192.168.8.0/24",
        "10.1.1.0/24 . 10.200.0.0/24",
        "10.1.1.0/24 . 10.201.0.0/24",
    }
    assert set(found["tunnel_pairs6"]) == {"fd00:1::/64 . fd00:5::/48", "fd00:1::/64 . fd00:c8::/112"}


def test_overlapping_pairs_are_cut() -> None:
    """The kernel refuses elements that overlap in part."""
    found = elements(
        {"ipsec": {"office": {"local_subnets": ["10.1.0.0/16"], "remote_subnets": ["192.168.5.0/24"]}},
         "remote_access": {"pool": ["10.200.0.0/24"], "subnets": ["10.1.1.0/24", "10.1.1.128/25"]}}
    )  # fmt: skip
    users = {key for key in found["tunnel_pairs4"] if key.endswith(" . 10.200.0.0/24")}
    assert users == {"10.1.1.0/25 . 10.200.0.0/24", "10.1.1.128/25 . 10.200.0.0/24"}


def test_users_of_a_full_tunnel_go_out_to_the_internet() -> None:
    found = elements()
    assert found["tunnel_users4"] == {"10.200.0.0/24": None, "10.201.0.0/24": None}
    assert found["tunnel_users6"] == {"fd00:c8::/112": None}
    assert found["tunnel_source_nat"] == {
        "10.200.0.0/24": "203.0.113.7",
        "10.201.0.0/24": "203.0.113.7",
    }
    split = elements({"remote_access": {"full_tunnel": None, "source_nat": None}})
    assert not split["tunnel_users4"] and not split["tunnel_users6"] and not split["tunnel_source_nat"]


def test_users_who_differ_have_pairs_of_their_own() -> None:
    document = read(example("everything"))
    found = tunnel_filter.users(document)
    assert found is not None
    assert found.reached == {"alice": ("10.1.1.0/24", "fd00:1::/64"), "bob@example.org": ("10.1.16.0/20",)}
    assert not [key for key in tunnel_filter.elements(document)["tunnel_pairs4"] if " . 10.20" in key]
    (file,) = tunnel_filter.resources(document)
    assert isinstance(file, File)
    assert file.content == "alice 10.1.1.0/24 fd00:1::/64\nbob@example.org 10.1.16.0/20\n"
    assert tunnel_filter.users(read(ALIKE)) is None and not list(tunnel_filter.resources(read(ALIKE)))


@pytest.mark.parametrize(
    ("reach", "networks"),
    [
        ([], ()),
        (["guest0", "guest2"], ("10.1.1.0/24", "10.2.1.0/24", "fd00:1::/64", "fd00:2::/64")),
        (["guest0", "guest0"], ("10.1.1.0/24", "fd00:1::/64")),
    ],
)
def test_what_a_user_reaches(reach: list[str], networks: tuple[str, ...]) -> None:
    patch = {"remote_access": {"users": {"bob@example.org": {"reach": reach}}}}
    found = tunnel_filter.users(read(merge_patch(ALIKE, patch)))
    assert found is not None and found.reached["bob@example.org"] == networks


def test_what_all_reach_is_cut_where_it_overlaps() -> None:
    patch = {"remote_access": {"subnets": ["10.1.1.0/24", "10.1.1.128/25", "10.9.1.0/24"]}}
    found = tunnel_filter.users(read(merge_patch(example("everything"), patch)))
    assert found is not None and found.reached["alice"] == ("10.1.1.0/24", "10.9.1.0/24")


def test_structure() -> None:
    found = tunnel_filter.tunnel_filter(document("everything"))
    assert found is not None
    assert found.links == ("ipsec0", "vpn7", "ppp*")
    assert found.behind == {"vpn7": ["192.168.6.0/24"]}
    assert found.full_tunnel
    assert found.l2tp == "203.0.113.7"
    assert found.by_user and found.pools == ("10.200.0.0/24", "fd00:c8::/112", "10.201.0.0/24")
