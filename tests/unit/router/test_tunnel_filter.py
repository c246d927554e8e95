"""What may pass between tunnels and networks."""

from typing import Any

from appliance.model import merge_patch
from router import tunnel_filter
from router.elements import Elements
from tests.examples import document, example, read


def elements(patch: dict[str, Any] | None = None) -> Elements:
    return tunnel_filter.elements(read(merge_patch(example("everything"), patch or {})))


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


def test_structure() -> None:
    found = tunnel_filter.tunnel_filter(document("everything"))
    assert found is not None
    assert found.links == ("ipsec0", "vpn7", "ppp*")
    assert found.behind == {"vpn7": ["192.168.6.0/24"]}
    assert found.full_tunnel
    assert found.l2tp == "203.0.113.7"
