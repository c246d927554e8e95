"""Names by TCP for users of tunnels: where they are told, and by what way."""

from typing import Any

from appliance.model import merge_patch
from appliance.resources import Unit
from router import tunnel_names
from tests.examples import document, example, read
from tests.unit.router.tracked import table

NONE: dict[str, Any] = {"wireguard": None, "ipsec": None, "remote_access": None}


def units(patch: dict[str, Any]) -> list[str]:
    found = list(tunnel_names.resources(read(merge_patch(example("everything"), patch))))
    return [item.name for item in found if isinstance(item, Unit)]


def test_one_for_each_address_where_names_are_told() -> None:
    assert units({}) == [
        "sysvm-names@10.1.1.1.socket",
        "sysvm-names@10.1.16.1.socket",
        "sysvm-names6@fd00:1::1.socket",
    ]
    assert units({"dns": None}) == []


def test_only_where_there_are_tunnels() -> None:
    assert units(NONE) == []
    for section in NONE:
        kept = {name: None for name in NONE if name != section}
        assert units(kept)
    assert tunnel_names.servers(document("minimal")) is None


def test_what_comes_by_tunnels_is_led_there() -> None:
    text = table(example("everything")).text
    lines = [line.strip() for line in text.splitlines() if "dnat to :1053" in line]
    links = '{ "vpn0", "ipsec0", "vpn7", "ppp*" }'
    assert lines == [
        f"iifname {links} ip daddr {{ 10.1.1.1, 10.1.16.1 }} tcp dport 53 dnat to :1053",
        f"iifname {links} ip6 daddr {{ fd00:1::1 }} tcp dport 53 dnat to :1053",
    ]
    assert "1053" not in table(merge_patch(example("everything"), NONE)).text
    # Without names nobody asks.
    assert "1053" not in table(merge_patch(example("everything"), {"dns": None})).text
