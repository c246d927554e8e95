"""Reservations and options: who gets which, and in which words."""

from typing import Any

import pytest

from router import dhcp
from router.network import guest_networks
from tests.examples import example, read

MAC = "02:00:0a:01:01:0a"
OTHER = "02:00:0a:01:01:0b"


def lines(
    reservation: dict[str, Any] | None = None, *, dns: bool = True, **section: Any
) -> tuple[list[str], list[str]]:
    """dhcp-host lines of the reservation, and dhcp-option lines."""
    value = example("router")
    value["metadata"] = {}
    if not dns:
        del value["dns"]
    reservations = {} if reservation is None else {MAC: {"address": "10.1.1.10", **reservation}}
    value["dhcp"] = {"guest0": {"reservations": reservations, **section}}
    document = read(value)
    (network,) = guest_networks(document)
    leases, names = document.dhcp["guest0"], document.dns.get("guest0")
    return (
        list(dhcp.hosts(leases, network, names).values()),
        list(dhcp.options(leases, network, names).values()),
    )


def own(reservation: dict[str, Any], **section: Any) -> list[str]:
    """What a guest's options differ in, without their tag."""
    (host,), options = lines(reservation, **section)
    tag = host.split(",")[1].removeprefix("set:")
    found = [line.removeprefix(f"tag:{tag},") for line in options if line.startswith("tag:")]
    assert all(not line.startswith("tag:") for line in found)
    return found


def test_a_network_without_further_settings() -> None:
    hosts, options = lines()
    assert hosts == []
    assert options == ["3,10.1.1.1", "26,1450", "6,10.1.1.1", "15,cs1.example"]
    assert lines(dns=False)[1] == ["3,10.1.1.1", "26,1450", "6"], "an option without a value isn't sent"


def test_a_networks_options() -> None:
    options = {
        "router": "10.1.1.2", "dns": ["10.1.1.3", "10.1.1.4"], "domain": "lab.example", "mtu": 1300,
        "search": ["a.example", "b.example"], "ntp": ["10.1.1.5"], "extra": {"66": "tftp.example"},
    }  # fmt: skip
    assert lines(options=options)[1] == [
        "3,10.1.1.2", "26,1300", "6,10.1.1.3,10.1.1.4", "15,lab.example", "119,a.example,b.example",
        "42,10.1.1.5", "66,tftp.example",
    ]  # fmt: skip
    assert "6" in lines(options={"dns": []})[1]


def test_a_default_route_is_added_to_classless_routes() -> None:
    route = {"destination": "10.9.0.0/16", "gateway": "10.1.1.254"}
    assert "121,10.9.0.0/16,10.1.1.254,0.0.0.0/0,10.1.1.1" in lines(options={"routes": [route]})[1]
    default = {"destination": "0.0.0.0/0", "gateway": "10.1.1.253"}
    assert (
        "121,10.9.0.0/16,10.1.1.254,0.0.0.0/0,10.1.1.253" in lines(options={"routes": [route, default]})[1]
    )


def test_reservations() -> None:
    assert lines({})[0] == [f"{MAC},10.1.1.10,3600"]
    assert lines({"hostname": "web"}, lease_seconds=600)[0] == [f"{MAC},10.1.1.10,web,600"]
    assert lines({"hostname": "web", "lease_seconds": 900})[0] == [f"{MAC},10.1.1.10,web,900"]


def test_a_guest_whose_options_are_the_networks_has_no_tag() -> None:
    assert lines({"options": {}})[0] == lines({})[0]
    assert lines({"options": {"mtu": 1450, "dns": ["10.1.1.1"]}})[0] == lines({})[0]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"mtu": 1300}, ["26,1300"]),
        ({"dns": []}, ["6"]),
        ({"router": "10.1.1.9"}, ["3,10.1.1.9", "121,10.9.0.0/16,10.1.1.254,0.0.0.0/0,10.1.1.9"]),
        ({"routes": []}, ["121"]),
        ({"search": []}, ["119"]),
        ({"extra": {"66": "other"}}, ["66,other"]),
        ({"extra": {"67": "boot"}}, ["67,boot"]),
    ],
)
def test_a_guest_of_its_own_mind(options: dict[str, Any], found: list[str]) -> None:
    usual = {
        "search": ["a.example"], "extra": {"66": "usual"},
        "routes": [{"destination": "10.9.0.0/16", "gateway": "10.1.1.254"}],
    }  # fmt: skip
    assert own({"options": options}, options=usual) == found


def test_a_guest_with_another_way_out() -> None:
    assert own({"default_gateway": False}) == ["3", "6", "15"]
    route = {"destination": "10.9.0.0/16", "gateway": "10.1.1.254"}
    assert own({"default_gateway": False}, options={"routes": [route], "search": ["a.example"]}) == [
        "121,10.9.0.0/16,10.1.1.254", "3", "6", "15", "119",
    ]  # fmt: skip
    assert own({"default_gateway": False, "options": {"dns": ["10.1.1.9"]}}) == ["6,10.1.1.9", "3", "15"]


def test_guests_that_are_alike_share_a_tag() -> None:
    value = example("router")
    for reservation in value["dhcp"]["guest0"]["reservations"].values():
        reservation["options"] = {"mtu": 1300}
    document = read(value)
    (network,) = guest_networks(document)
    leases = document.dhcp["guest0"]
    hosts = dhcp.hosts(leases, network, None)
    assert hosts[MAC].split(",")[1] == hosts[OTHER].split(",")[1]
    assert sum(line.startswith("tag:") for line in dhcp.options(leases, network, None).values()) == 1
