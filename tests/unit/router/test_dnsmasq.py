"""One server per guest network, with only what the network has."""

import pytest

from appliance.checks import DhcpCheck, DnsCheck
from appliance.resources import ChecksumFill, File, Records, Unit
from router import dnsmasq
from tests.examples import document, example, read

DIRECTORY = "/run/sysvm/dnsmasq/guest0"


def test_both_services() -> None:
    found = [item for item in dnsmasq.resources(document("everything")) if "guest0" in repr(item)]
    assert [item.path for item in found if isinstance(item, File | Records)] == [
        f"{DIRECTORY}/{name}" for name in ("dnsmasq.conf", "servers", "hosts", "dhcp-options", "dhcp-hosts")
    ]
    assert [item for item in found if isinstance(item, ChecksumFill)] == [
        ChecksumFill(link="guest0", source="10.1.1.1")
    ]
    (unit,) = [item for item in found if isinstance(item, Unit)]
    assert unit == Unit(
        name="sysvm-dnsmasq@guest0.service",
        restart_on=(f"{DIRECTORY}/dnsmasq.conf",),
        reload_on=(
            f"{DIRECTORY}/servers", f"{DIRECTORY}/hosts/base",
            f"{DIRECTORY}/dhcp-options/base", f"{DIRECTORY}/dhcp-hosts/base",
        ),
        links=("guest0",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("absent", "directive", "other"),
    [("dhcp", "dhcp-", "local="), ("dns", "local=", "port=0"), ("dns", "addn-hosts", "dhcp-range=")],
)
def test_one_service_alone(absent: str, directive: str, other: str) -> None:
    value = example("router")
    del value[absent]
    value["metadata"] = {}
    conf = next(item for item in dnsmasq.resources(read(value)) if isinstance(item, File))
    assert directive not in conf.content
    assert other in conf.content


def test_neither() -> None:
    assert list(dnsmasq.resources(document("minimal"))) == []
    value = example("router")
    del value["dhcp"], value["dns"], value["metadata"]
    assert list(dnsmasq.resources(read(value))) == []


def test_names_are_qualified() -> None:
    conf = next(item for item in dnsmasq.resources(document("everything")) if isinstance(item, File))
    lines = conf.content.splitlines()
    assert "cname=www.cs1.example,web.cs1.example" in lines
    assert "cname=db.example.org,database.cs1.example" in lines
    assert "mx-host=cs1.example,web.cs1.example,20" in lines
    assert 'txt-record=cs1.example,"v=spf1 mx -all"' in lines


def test_checks() -> None:
    checks = list(dnsmasq.checks(document("router")))
    assert checks == [
        DnsCheck(name="dns guest0", server="10.1.1.1", query="r1.cs1.example", expected="10.1.1.1"),
        DhcpCheck(name="dhcp guest0", link="guest0", address="10.1.1.1"),
    ]
