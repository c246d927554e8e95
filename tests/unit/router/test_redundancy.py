"""What one router of a pair makes of the document that both have."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from appliance.checks import Check, DnsCheck, HttpCheck
from appliance.rendering import pieces
from appliance.resources import Address, Connection, File, L2tpServer, Leases, Resource, Ruleset, Unit
from appliance.roles import resources
from appliance.route import Route
from router import redundancy, role
from tests.examples import document, example, problems, read

SECRET = "correct horse battery staple"


def made(name: str = "pair-r1", **changes: Any) -> list[Resource]:
    value = example(name)
    value["redundancy"] |= changes
    return list(resources(read(value)))


def table_of(state: Iterable[Resource]) -> Ruleset:
    return next(item for item in state if isinstance(item, Ruleset) and item.table == "sysvm")


def content(wanted: list[Resource], name: str) -> str:
    (file,) = (item for item in wanted if isinstance(item, File) and item.path.endswith(name))
    return file.content


def pair(wanted: list[Resource]) -> Any:
    return json.loads(content(wanted, "pair.json"))


def addresses(wanted: list[Resource]) -> set[tuple[str, str]]:
    return {(item.link, item.address) for item in wanted if isinstance(item, Address)}


def test_what_services_want_on_a_shared_link_is_keepaliveds() -> None:
    wanted = made()
    assert addresses(wanted) == {
        ("sync0", "169.254.4.1/30"),
        ("guest0", "169.254.128.0/31"),
        # So that routes by it stay when the addresses go.
        ("public0", "169.254.135.255/32"),
    }
    block = content(wanted, "keepalived.conf").partition("virtual_ipaddress_excluded {")[2]
    assert [line.strip() for line in block.partition("}")[0].strip().splitlines()] == [
        "10.1.1.1/24 dev guest0 no_track",
        "169.254.169.254/32 dev guest0 label guest0:meta no_track",
        "203.0.113.5/24 dev public0 no_track",
        "203.0.113.6/24 dev public0 no_track",
    ]


def test_sessions_of_users_by_l2tp_end_where_their_address_goes() -> None:
    value = example("pair-r1")
    server = {"address": "203.0.113.5", "psk": "correct horse battery", "pool": "10.201.0.0/24"}
    value["remote_access"] = {"l2tp": server, "users": {"alice": {"password": "an example"}}}
    (found,) = [item for item in resources(read(value)) if isinstance(item, L2tpServer)]
    assert (found.address, found.follows) == ("203.0.113.5", True)
    del value["redundancy"], value["interfaces"]["sync0"]
    (alone,) = [item for item in resources(read(value)) if isinstance(item, L2tpServer)]
    assert not alone.follows


def test_a_router_that_is_alone_has_nothing_of_it() -> None:
    alone = list(resources(document("router")))
    assert ("guest0", "10.1.1.1/24") in addresses(alone)
    assert not [item for item in alone if "redundancy" in repr(item) or "keepalived" in repr(item)]
    assert not [item for item in alone if isinstance(item, Route) and item.onlink]
    assert not [check for check in role.checks(document("router")) if "redundancy" in check.name]


def test_the_two_differ_in_nothing_but_themselves() -> None:
    """So that a fail-over changes nothing else: rules, records and daemons are there already."""
    one, other = made(), made("pair-r2")
    for kind in (Leases, Unit, Route):
        assert [item for item in one if isinstance(item, kind)] == [
            item for item in other if isinstance(item, kind)
        ]
    tables = [
        next(item for item in both if isinstance(item, Ruleset) and item.table == "sysvm")
        for both in (one, other)
    ]
    lines = [[line for line in table.text.splitlines() if "169.254.4." not in line] for table in tables]
    assert lines[0] == lines[1]
    one_elements, other_elements = (table.elements for table in tables)
    differing = {name for name in one_elements if one_elements[name] != other_elements[name]}
    assert differing == {"listening_ports4", "listening_protocols4", "open_protocols4"}


def test_the_default_route_is_there_before_its_network_is() -> None:
    (default,) = (item for item in made() if isinstance(item, Route) and item.destination == "0.0.0.0/0")
    assert default.onlink


def test_one_instance_hears_the_other_on_all_paths() -> None:
    text = content(made(), "keepalived.conf")
    assert text.count("vrrp_instance ") == 1 and "interface" not in text.partition("vrrp_instance")[2]
    peers = text.partition("unicast_peer {")[2].partition("}")[0].split()
    assert peers == ["169.254.128.1", "169.254.4.2"]
    assert "unicast_src_ip 169.254.4.1\n" in text
    assert "advert_int 0.10\n" in text and "virtual_router_id 51\n" in text


def test_multicast_goes_by_one_path() -> None:
    text = content(made(multicast="sync0"), "keepalived.conf")
    assert "unicast" not in text.partition("vrrp_instance")[2]
    assert "interface sync0\n" in text and "mcast_src_ip 169.254.4.1\n" in text
    (table,) = (
        item for item in made(multicast="sync0") if isinstance(item, Ruleset) and item.table == "sysvm"
    )
    assert "224.0.0.18 . 112" in table.elements["listening_protocols4"]


@pytest.mark.parametrize("priority", [1, 20])
def test_faults_come_first_then_who_is_there_then_the_priority(priority: int) -> None:
    text = content(made(priority=priority), "keepalived.conf")
    number = int(text.partition("    priority ")[2].split()[0])
    fault, incumbent, most = 42, 21, 20
    assert f"weight -{fault}\n" in text and f"weight {incumbent}\n" in text
    assert incumbent > most - 1 and fault > incumbent + most - 1
    assert number - 5 * fault >= 1 and number + incumbent <= 254


def test_a_network_more_changes_keepalived_by_a_reload_alone() -> None:
    value = example("pair-r1")
    value["interfaces"]["guest1"] = {"mac": "02:00:0a:01:02:01", "addresses": ["10.1.2.1/24"]}
    more, before = list(resources(read(value))), made()
    assert content(more, "conntrackd.conf") == content(before, "conntrackd.conf")
    assert content(more, "keepalived.conf") != content(before, "keepalived.conf")
    (unit,) = (item for item in more if isinstance(item, Unit) and item.name == "sysvm-keepalived.service")
    assert unit.reload_on and not unit.restart_on and not unit.links


def test_only_what_the_two_say_is_let_in() -> None:
    table = table_of(made())
    assert 'iifname "guest0" ip saddr 169.254.4.2 meta l4proto 112 accept' in table.text
    assert 'iifname "public0" ip saddr' not in table.text.partition("meta l4proto 112 drop")[0]
    assert table.elements["listening_ports4"] == {
        "3780 . 169.254.4.1 . 17": None,
        "3781 . 169.254.4.1 . 6": None,
    }
    assert table.elements["open_protocols4"].keys() == {"169.254.4.1 . 112", "169.254.128.0 . 112"}


def test_nobody_else_reaches_what_the_two_share() -> None:
    text = table_of(made()).text
    assert 'iifname != { "lo", "sync0" } ip daddr 169.254.4.1 drop' in text
    assert 'iifname "sync0" ip daddr 169.254.4.1 ip saddr != 169.254.4.2 drop' in text


def test_who_has_no_address_says_nothing_from_it() -> None:
    table = table_of(made())
    assert "ip saddr @pair4 fib saddr type != local drop" in table.text
    assert table.elements["pair4"].keys() == {"10.1.1.1", "203.0.113.5", "203.0.113.6"}
    alone = table_of(resources(document("router")))
    assert "pair4" not in alone.text and "pair4" not in alone.elements


def test_a_tunnel_is_begun_where_its_address_is() -> None:
    """By the agent; the IKE daemon of the backup would begin it, too."""
    found = [item for item in resources(document("everything")) if isinstance(item, Connection)]
    assert found and all(item.follows for item in found)
    assert any(item.initiate for item in found)
    for item in found:
        children = item.settings["children"]
        assert isinstance(children, dict)
        for child in children.values():
            assert (child["start_action"], child["close_action"]) == ("none", "none")
            assert child["dpd_action"] == "clear"
    value = example("everything")
    del value["redundancy"], value["interfaces"]["sync0"]
    alone = [item for item in resources(read(value)) if isinstance(item, Connection)]
    assert not any(item.follows for item in alone)
    assert "'start_action': 'start'" in repr(alone)


def test_what_is_tracked() -> None:
    told = pair(made())
    assert told["links"] == ["guest0", "public0"] and told["gateways"] == [["public0", "203.0.113.1"]]
    assert told["daemons"] == ["sysvm-dnsmasq@guest0.service", "sysvm-metadata.service"]
    none = pair(made(tracking={"links": False, "gateways": False, "daemons": False}))
    assert (none["links"], none["gateways"], none["daemons"]) == ([], [], [])
    # A tunnel is a daemon on some kernels: which, only the machine knows.
    assert told["tunnels"] == none["tunnels"] == {}
    told = pair(list(resources(document("everything"))))
    assert told["tunnels"] == {"vpn0": "sysvm-wireguard@vpn0.service"}
    assert "sysvm-charon.service" in told["daemons"]
    assert not any("wireguard" in daemon for daemon in told["daemons"])


def test_services_on_virtual_addresses_are_asked_where_these_are() -> None:
    found: list[Check] = list(role.checks(document("pair-r1")))
    assert all(check.virtual for check in found if isinstance(check, DnsCheck))
    mine = {check.name for check in found if isinstance(check, HttpCheck) and "redundancy" in check.name}
    assert mine == {f"redundancy {what}" for what in ("vrrp", "peer", "split-brain", "foreign-vrrp")}


def test_the_secret_is_shown_nowhere() -> None:
    wanted = made()
    shown = "".join(pieces(wanted))
    assert SECRET not in shown
    keys = redundancy.fetched_key(document("pair-r1"))
    assert keys is not None and keys not in shown and SECRET not in keys
    (file,) = (item for item in wanted if isinstance(item, File) and SECRET in item.content)
    assert (file.mode, file.secret) == (0o600, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 0), ("priority", 21), ("priority", "10"), ("virtual_router_id", 0),
        ("virtual_router_id", 256), ("advert_milliseconds", 49), ("advert_milliseconds", 105),
        ("advert_milliseconds", 10_010), ("secret", "too short"), ("secret", "two lines of a\nsecret text"),
        ("peer", "r2 {"), ("path_network", "169.254.128.1/21"), ("sync", "sync0 }"), ("colour", 1),
    ],
)  # fmt: skip
def test_values_that_no_router_has(field: str, value: Any) -> None:
    document = example("pair-r1")
    document["redundancy"][field] = value
    (problem,) = problems(document)
    assert problem.pointer == f"/redundancy/{field}"
    assert "too short" not in problem.detail and "two lines" not in problem.detail
