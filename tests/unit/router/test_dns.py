"""Names in dnsmasq's words."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import dns
from router.network import guest_networks
from tests.examples import document
from tests.unit.router.test_network import network


def test_hosts() -> None:
    value = document("everything")
    first, second, *_ = guest_networks(value)
    assert list(dns.hosts(value, first).values()) == [
        "10.1.1.1 r1.cs1.example r1",
        "10.1.1.1 data-server.cs1.example data-server",
        "10.1.1.10 web.cs1.example web",
        "10.1.1.11 database.cs1.example database",
        "10.1.1.50 printer.cs1.example printer",
        "fd00:1::50 printer.cs1.example printer",
        "198.51.100.7 outside.example.org",
    ]
    assert "10.1.17.10 back.cs2.example back" in dns.hosts(value, second).values()


def test_servers() -> None:
    value = document("two-networks")
    first, second = guest_networks(value)
    lines = dns.servers(value, first).splitlines()
    assert lines[:2] == ["server=203.0.113.53#53", "server=/back.example/10.1.2.1"]
    assert len(lines) == 2 + 128, "a /25 in single addresses: the other half of its /24 isn't its own"
    assert lines[-1] == "server=/127.2.1.10.in-addr.arpa/10.1.2.1"
    assert dns.servers(value, second) == "", "knows no upstream and no other network"


@pytest.mark.parametrize(
    ("cidr", "count", "first", "last"),
    [
        ("10.0.0.0/8", 1, "10.in-addr.arpa", "10.in-addr.arpa"),
        ("10.128.0.0/9", 128, "128.10.in-addr.arpa", "255.10.in-addr.arpa"),
        ("172.16.0.0/16", 1, "16.172.in-addr.arpa", "16.172.in-addr.arpa"),
        ("10.1.16.0/20", 16, "16.1.10.in-addr.arpa", "31.1.10.in-addr.arpa"),
        ("10.1.1.0/24", 1, "1.1.10.in-addr.arpa", "1.1.10.in-addr.arpa"),
        ("10.1.1.128/25", 128, "128.1.1.10.in-addr.arpa", "255.1.1.10.in-addr.arpa"),
        ("10.1.1.4/30", 4, "4.1.1.10.in-addr.arpa", "7.1.1.10.in-addr.arpa"),
    ],
)
def test_reverse_zones(cidr: str, count: int, first: str, last: str) -> None:
    zones = dns.reverse_zones(network(cidr, "10.0.0.1"))
    assert (len(zones), zones[0], zones[-1]) == (count, first, last)


@given(st.integers(8, 30), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_reverse_zones_are_of_just_the_network(length: int, within: int, asked: int) -> None:
    cidr = ipaddress.IPv4Network((within, length), strict=False)
    zones = set(dns.reverse_zones(network(str(cidr), "10.0.0.1")))
    for address in (ipaddress.IPv4Address(asked), cidr[0], cidr[-1]):
        labels = address.reverse_pointer.split(".")
        covered = any(".".join(labels[number:]) in zones for number in range(4))
        assert covered == (address in cidr)


def test_qualified() -> None:
    assert dns.qualified("web", "cs1.example") == "web.cs1.example"
    assert dns.qualified("web.example", "cs1.example") == "web.example"
