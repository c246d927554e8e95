"""Links, addresses, routes, rules and kernel settings: ours as wanted, others' never touched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.engine.host import Host
from appliance.engine.plan import make
from appliance.engine.transaction import ConvergeError, converge
from appliance.resources import Address, Link, Resource, Rule, Sysctl
from appliance.route import Route
from tests.integration.engine.conftest import Run

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
GUEST, PUBLIC = Link(name="guest0", mac=A), Link(name="public0", mac=B, mtu=1400)
OWN = Address(link="guest0", address="10.1.1.1/24")


@pytest.fixture(autouse=True)
def cards(run: Run) -> Iterator[None]:
    """Two cards, each with a peer in the same namespace."""
    for name, mac in (("one", A), ("two", B)):
        run("ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", f"{name}-peer")
        run("ip", "link", "set", f"{name}-peer", "up")
    yield


def settled(host: Host, *wanted: Resource) -> int:
    """Converges; how many steps it took. A second plan is empty."""
    taken = len(converge(wanted, host).plan.changes)
    assert make(wanted, host, fresh=True).changes == ()
    return taken


def names(run: Run) -> dict[str, str]:
    return {
        link["address"]: link["ifname"]
        for link in json.loads(run("ip", "-j", "link"))
        if link["address"].startswith("02:00:00:00:00")
    }


def test_links_are_found_by_mac(host: Host, run: Run) -> None:
    assert settled(host, GUEST, PUBLIC) == 2
    assert names(run) == {A: "guest0", B: "public0"}
    (public,) = json.loads(run("ip", "-j", "link", "show", "public0"))
    assert (public["mtu"], public["operstate"], public["ifalias"]) == (1400, "UP", "sysvm:public0")
    assert settled(host, GUEST, PUBLIC) == 0


def test_links_swap_names(host: Host, run: Run) -> None:
    settled(host, GUEST, PUBLIC)
    settled(host, Link(name="public0", mac=A), Link(name="guest0", mac=B))
    assert names(run) == {A: "public0", B: "guest0"}


def test_a_swap_takes_addresses_and_routes_along(host: Host, run: Run) -> None:
    route = Route(destination="10.9.0.0/16", gateway="10.1.1.254", link="guest0")
    settled(host, GUEST, PUBLIC, OWN, route)
    settled(host, Link(name="public0", mac=A), Link(name="guest0", mac=B), OWN, route)
    (guest,) = json.loads(run("ip", "-j", "-4", "address", "show", "guest0"))
    assert [info["local"] for info in guest["addr_info"]] == ["10.1.1.1"]
    assert "10.9.0.0/16 via 10.1.1.254 dev guest0" in run("ip", "route")


def test_a_missing_card_is_waited_for(host: Host, run: Run) -> None:
    later = [Link(name="guest1", mac="02:00:00:00:00:0c"), Address(link="guest1", address="10.1.2.1/24")]
    later.append(Route(destination="10.8.0.0/16", gateway="10.1.2.254", link="guest1"))  # type: ignore[arg-type]
    settled(host, GUEST, OWN, *later)
    assert "10.1.1.1/24" in run("ip", "address")
    run(
        "ip",
        "link",
        "add",
        "late",
        "address",
        "02:00:00:00:00:0c",
        "type",
        "veth",
        "peer",
        "name",
        "late-peer",
    )
    run("ip", "link", "set", "late-peer", "up")
    assert settled(host, GUEST, OWN, *later) == 3
    assert "10.8.0.0/16 via 10.1.2.254 dev guest1" in run("ip", "route")


def test_a_link_that_nobody_wants_is_given_up(host: Host, run: Run) -> None:
    settled(host, GUEST, OWN)
    settled(host)
    (link,) = [link for link in json.loads(run("ip", "-j", "link")) if link["address"] == A]
    assert link["operstate"] == "DOWN" and not link.get("ifalias") and link["ifname"] != "guest0"
    assert "10.1.1.1" not in run("ip", "address")
    assert names(run)[B] == "two", "a card that was never ours keeps its name"


def test_addresses(host: Host, run: Run) -> None:
    run("ip", "link", "set", "one", "up")
    run("ip", "address", "add", "192.0.2.7/24", "dev", "one")
    six = Address(link="guest0", address="2001:db8::1/64")
    further = Address(link="guest0", address="169.254.169.254/32")
    settled(host, GUEST, OWN, six, further)
    for text in ("10.1.1.1/24", "2001:db8::1/64", "169.254.169.254/32", "192.0.2.7/24"):
        assert text in run("ip", "address", "show", "guest0")
    run("ip", "address", "del", "10.1.1.1/24", "dev", "guest0")
    assert settled(host, GUEST, OWN, six, further) == 1, "what others took away comes back"
    settled(host, GUEST)
    left = run("ip", "address", "show", "guest0")
    assert "10.1.1.1" not in left and "2001:db8::1" not in left
    assert "192.0.2.7/24" in left, "somebody else's"


def test_routes(host: Host, run: Run) -> None:
    settled(host, GUEST, OWN)
    run("ip", "route", "add", "198.51.100.0/24", "via", "10.1.1.99")
    run("ip", "route", "add", "10.9.0.0/16", "via", "10.1.1.99", "metric", "500")
    wanted = [
        Route(destination="0.0.0.0/0", gateway="10.1.1.254", link="guest0"),
        Route(destination="10.9.0.0/16", gateway="10.1.1.253", link="guest0", metric=10),
        Route(destination="10.9.0.0/16", gateway="10.1.1.254", link="guest0"),
        Route(destination="0.0.0.0/0", gateway="10.1.1.254", link="guest0", table=100),
    ]
    assert settled(host, GUEST, OWN, *wanted) == 4
    changed = Route(destination="10.9.0.0/16", gateway="10.1.1.252", link="guest0", metric=10)
    settled(host, GUEST, OWN, wanted[0], changed)
    shown = run("ip", "route")
    assert "10.9.0.0/16 via 10.1.1.252" in shown and "10.1.1.253" not in shown
    assert run("ip", "route", "show", "table", "100") == ""
    settled(host, GUEST, OWN)
    shown = run("ip", "route")
    assert "default" not in shown
    assert "198.51.100.0/24 via 10.1.1.99" in shown and "metric 500" in shown, "somebody else's"


@pytest.mark.parametrize("metric", [0, 1, 1024, 4294967295])
def test_routes_of_ipv6(host: Host, run: Run, metric: int) -> None:
    own = Address(link="guest0", address="2001:db8:1::1/64")
    route = Route(destination="2001:db8:9::/48", gateway="2001:db8:1::2", link="guest0", metric=metric)
    settled(host, GUEST, own, route)
    assert "2001:db8:9::/48 via 2001:db8:1::2" in run("ip", "-6", "route")
    settled(host, GUEST, own)
    assert "2001:db8:9::" not in run("ip", "-6", "route")


def test_rules(host: Host, run: Run) -> None:
    run("ip", "rule", "add", "from", "192.0.2.0/24", "lookup", "77", "priority", "90")
    wanted = [
        Rule(priority=100, table=100, source="10.1.1.1/32"),
        Rule(priority=101, table=100, source="2001:db8::1/128"),
        Rule(priority=102, table=101, link="guest0", mark=7),
    ]
    assert settled(host, *wanted) == 3
    assert "from 10.1.1.1 lookup 100" in run("ip", "rule")
    assert "from 2001:db8::1 lookup 100" in run("ip", "-6", "rule")
    settled(host, wanted[0])
    assert "fwmark" not in run("ip", "rule")
    settled(host)
    left = run("ip", "rule")
    assert "from 192.0.2.0/24 lookup 77" in left and "10.1.1.1" not in left


def test_kernel_settings(host: Host) -> None:
    path = Path("/proc/sys/net/ipv4/ip_forward")
    before = path.read_text().strip()
    other = str(1 - int(before))
    assert settled(host, Sysctl(name="net/ipv4/ip_forward", value=other)) == 1
    assert path.read_text().strip() == other
    assert settled(host, Sysctl(name="net/ipv4/no_such_setting", value="1")) == 0


def test_a_step_that_fails_says_which(host: Host) -> None:
    nowhere = Route(destination="10.9.0.0/16", gateway="192.0.2.1", link="guest0")
    with pytest.raises(ConvergeError, match=r"create route 10\.9\.0\.0/16 via 192\.0\.2\.1"):
        converge([GUEST, OWN, nowhere], host)
