"""Limits as elements: what grows are elements and limit objects, never rules."""

from typing import Any

from appliance.resources import Limit, Ruleset, Sysctl
from appliance.shaping import QUEUED
from router import limits, shaping
from tests.examples import example, problems, read

MAC = "02:00:0a:01:01:0a"


def table(section: Any, *, name: str = "two-networks") -> Ruleset:
    value = {**example(name), "limits": section}
    (found,) = [item for item in limits.resources(read(value)) if isinstance(item, Ruleset)]
    return found


def filled(found: Ruleset) -> dict[str, dict[str, str | None]]:
    """But for who waits where: tests/unit/router/test_shaping.py."""
    queues = (QUEUED, *shaping.CLASSES)
    return {
        name: dict(elements) for name, elements in found.elements.items() if elements and name not in queues
    }


def test_without_limits_there_are_the_usual_ones() -> None:
    found = table({})
    assert filled(found) == {} and not found.limits
    for line in (
        "add @usual_connections { ether saddr ct count over 8192 } drop",
        "update @usual_new { ether saddr limit rate over 1000/second",
        "udp dport 67 update @dhcp_packets { ether saddr limit rate over 20/second",
        "update @dns_packets { ether saddr limit rate over 2000/second",
    ):
        assert line in found.text
    assert "hook forward" not in found.text, "no packet of an established connection looks for a rate"


def test_null_is_without_end() -> None:
    fields = (
        "connections",
        "new_connections_per_second",
        "dhcp_packets_per_second",
        "dns_packets_per_second",
    )
    found = table({"usual": dict.fromkeys(fields)})
    assert "ether saddr ct count" not in found.text
    assert "update @" not in found.text


def test_a_guest_by_its_mac_address_has_the_rate_at_each_of_its_addresses() -> None:
    found = table({"guests": {MAC: {"sent": {"rate": 8_000_000}}}}, name="everything")
    assert filled(found) == {"guest_sent4": {"10.1.1.10": "guests_02_00_0a_01_01_0a_sent"}}
    assert dict(found.limits) == {"guests_02_00_0a_01_01_0a_sent": Limit(1_000_000, 131_072)}


def test_both_families_and_both_directions() -> None:
    rate = {"rate": 8_000_000, "burst": 70_000}
    found = table({
        "guests": {"10.1.1.10": {"sent": rate, "received": rate}},
        "networks": {"guest1": {"received": rate}},
        "addresses": {"203.0.113.5": {"sent": rate}, "203.0.113.6": {"received": rate}},
    })  # fmt: skip
    assert sorted(filled(found)) == [
        "address_received4", "address_sent4", "guest_received4", "guest_sent4", "network_received",
    ]  # fmt: skip
    assert set(found.limits.values()) == {Limit(1_000_000, 70_000)}
    six = example("everything")
    six["limits"] = {
        "guests": {"fd00:1::9": {"sent": rate}}, "addresses": {"2001:db8::5": {"received": rate}},
    }  # fmt: skip
    (found,) = [item for item in limits.resources(read(six)) if isinstance(item, Ruleset)]
    assert filled(found) == {
        "guest_sent6": {"fd00:1::9": "guests_fd00_1__9_sent"},
        "address_received6": {"2001:db8::5": "addresses_2001_db8__5_received"},
    }


def test_a_thousand_guests_with_the_same_numbers_are_one_chain() -> None:
    guests = {f"10.1.1.{n}": {"connections": 50, "sent": {"rate": 1_000_000}} for n in range(10, 200)}
    one, many = table({"guests": dict(list(guests.items())[:1])}), table({"guests": guests})
    assert one.text == many.text
    assert len(many.elements["class4"]) == 190
    assert set(many.elements["class4"].values()) == {"goto guests_50_1000"}, "the other number is the usual"
    assert len(many.limits) == 190, "each has a bucket of its own"


def test_connections_of_a_public_address_are_those_to_it() -> None:
    found = table({"addresses": {"203.0.113.5": {"connections": 10, "new_connections_per_second": 3}}})
    assert filled(found) == {"address_class4": {"203.0.113.5": "goto addresses_10_3"}}
    assert "add @addresses_10_3_connections4 { ip daddr ct count over 10 } drop" in found.text
    assert (
        "update @addresses_10_3_new4 { ip daddr limit rate over 3/second burst 3 packets } drop"
        in found.text
    )


def test_of_a_network_they_are_rules_for_there_are_few() -> None:
    found = table({"networks": {"guest0": {"connections": 10, "new_connections_per_second": 3}}})
    assert 'iifname "guest0" ct count over 10 drop' in found.text
    assert 'iifname "guest0" limit rate over 3/second burst 3 packets drop' in found.text


def test_which_limit_made_an_element() -> None:
    value = {**example("two-networks"), "limits": {"guests": {"10.1.1.10": {"sent": {"rate": 64_000}}}}}
    assert limits.origins(read(value)) == {
        ("guest_sent4", "10.1.1.10"): ("limits", "guests", "10.1.1.10", "sent")
    }


def test_who_is_kept_out_of_the_fast_path() -> None:
    rate = {"sent": {"rate": 64_000}}
    value = {
        **example("two-networks"),
        "limits": {"guests": {"10.1.1.10": rate, "10.1.1.11": rate, "10.1.1.99": {"connections": 1}},
                   "networks": {"guest1": rate}, "addresses": {"203.0.113.5": rate}},
    }  # fmt: skip
    found = limits.kept_out(read(value))
    assert list(found["limited4"]) == ["10.1.2.0/25", "10.1.1.10", "10.1.1.11", "203.0.113.5"]
    assert limits.kept_out(read(example("two-networks"))) == {"limited4": {}, "limited6": {}}


def test_a_router_without_networks_has_none() -> None:
    assert list(limits.resources(read({"role": "router", "name": "r1", "generation": 1}))) == []
    found = [item for item in limits.resources(read(example("minimal"))) if isinstance(item, Sysctl)]
    assert found in ([], [Sysctl(name="net/netfilter/nf_conntrack_max", value="65536")])


def test_wrong_values_have_their_place() -> None:
    for section, place, words in (
        ({"guests": {"10.1.1.10": {"sent": {"rate": 5}}}}, "/limits/guests/10.1.1.10/sent/rate", "64000"),
        ({"networks": {"guest0": {"sent": {"rate": 10**12}}}}, "/limits/networks/guest0/sent/rate", "1000"),
        ({"guests": {"10.1.1.10": {"sent": {"rate": 10**7, "burst": 1500}}}},
         "/limits/guests/10.1.1.10/sent/burst", "65536"),
        ({"guests": {"10.1.1.10": {"sent": {"rate": 0}}}}, "/limits/guests/10.1.1.10/sent/rate", "64000"),
        ({"guests": {"10.1.1.10": {"sent": {"rate": -8_000_000}}}},
         "/limits/guests/10.1.1.10/sent/rate", "64000"),
        ({"guests": {"10.1.1.10": {"received": {"rate": "10mbit"}}}},
         "/limits/guests/10.1.1.10/received/rate", "integer"),
        ({"guests": {"10.1.1.10": {"received": {"rate": 1e7}}}},
         "/limits/guests/10.1.1.10/received/rate", "integer"),
        ({"guests": {"10.1.1.10": {"received": {"burst": 10**6}}}},
         "/limits/guests/10.1.1.10/received/rate", "required"),
        ({"guests": {"10.1.1.10": {"sent": {"rate": 10**7, "burst": 10**10}}}},
         "/limits/guests/10.1.1.10/sent/burst", "1000000000"),
        ({"addresses": {"203.0.113.5": {"sent": {"rate": 10**7, "mode": "htb"}}}},
         "/limits/addresses/203.0.113.5/sent/mode", "'shaped' or 'policed'"),
        ({"guests": {"vm1": {}}}, "/limits/guests/vm1", "MAC address or the IP address"),
        ({"guests": {"02:00:0A:01:01:0a": {}}}, "/limits/guests/02:00:0A:01:01:0a", "lower case"),
        ({"guests": {"fd00:0::1": {}}}, "/limits/guests/fd00:0::1", "canonical form, fd00::1"),
        ({"networks": {"guest0": {"connections": 0}}}, "/limits/networks/guest0/connections", "1"),
        ({"usual": {"connections": "many"}}, "/limits/usual/connections", "integer"),
        ({"usual": {"pings": 3}}, "/limits/usual/pings", "Extra"),
    ):  # fmt: skip
        (problem,) = problems({**example("two-networks"), "limits": section})
        assert problem.pointer == place
        assert words in problem.detail
