"""Addresses, ports and names: one canonical form each, and nothing else."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from appliance import address

ADDRESSES = st.integers(0, 2**32 - 1).map(lambda number: str(ipaddress.IPv4Address(number)))


def taken(kind: Any, value: Any) -> bool:
    try:
        return bool(TypeAdapter(kind).validate_python(value, strict=True) == str(value))
    except ValidationError:
        return False


GOOD = {
    "MacAddress": ["02:00:5e:00:53:01", "00:00:00:00:00:00"],
    "IpAddress": ["10.0.0.1", "2001:db8::1", "::"],
    "Ipv4Address": ["10.0.0.1", "0.0.0.0", "255.255.255.255"],
    "Network": ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0", "10.1.1.1/32"],
    "Ipv4Network": ["10.0.0.0/8", "0.0.0.0/0"],
    "InterfaceAddress": ["10.1.1.1/24", "2001:db8::1/64"],
    "Ports": ["1", "80", "65535", "80-81", "1-65535", 80],
    "HostName": ["a", "a-b", "0", "a" * 63],
    "DomainName": ["a", "a.b", "1.2.in-addr.arpa", ".".join(["a" * 60] * 4)],
    "InterfaceName": ["guest0", "public10"],
    "Name": ["a", "A_b.c-d", "0"],
}
BAD = {
    "MacAddress": [
        "02:00:5E:00:53:01",
        "01:00:5e:00:00:01",
        "02005e005301",
        "02:00:5e:00:53",
        "02-00-5e-00-53-01",
    ],
    "IpAddress": [
        "10.0.0.256",
        "10.0.0",
        "010.0.0.1",
        "2001:DB8::1",
        "2001:db8:0::1",
        "fe80::1%eth0",
        "1",
        1,
    ],
    "Ipv4Address": ["2001:db8::1", "10.0.0.01", "10.1", "0x0a.0.0.1", "\u0661.0.0.1", "10.0.0.1/32"],
    "Network": [
        "10.0.0.1/8",
        "10.0.0.0/08",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0",
        "fe80::%x/64",
        "2001:db8::/129",
    ],
    "Ipv4Network": ["2001:db8::/32", "10.0.0.0/33", "10.0.0.0/8 "],
    "InterfaceAddress": ["10.1.1.1", "10.1.1.1/255.255.255.0", "fe80::1%x/64", "10.1.1.1/33"],
    "Ports": ["0", "65536", "080", "81-80", "80-80", "80-", "-80", "80,81", "1-65536", True, 0, -1, 80.0],
    "HostName": ["", "A", "-a", "a-", "a.b", "a" * 64, "a_b", "\u00e9"],
    "DomainName": ["", ".", "a.", ".a", "a..b", "A.b", ".".join(["a" * 60] * 5)],
    "InterfaceName": ["guest", "0", "Guest0", "guest0000", "guest-0", "averylongname0"],
    "Name": ["", "-a", ".a", "a b", "a/b", "a" * 64],
}


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in GOOD.items() for value in values]
)
def test_taken(kind: str, value: Any) -> None:
    assert taken(getattr(address, kind), value)


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in BAD.items() for value in values]
)
def test_refused(kind: str, value: Any) -> None:
    assert not taken(getattr(address, kind), value)


@pytest.mark.parametrize("kind", list(GOOD))
@pytest.mark.parametrize("end", ["\n", " ", "\0", "\t", "\r\n", ";", "\u2028"])
def test_nothing_may_follow_or_precede(kind: str, end: str) -> None:
    for good in GOOD[kind]:
        assert not taken(getattr(address, kind), f"{good}{end}")
        assert not taken(getattr(address, kind), f"{end}{good}")


@given(ADDRESSES, st.integers(0, 32))
def test_numbers(text: str, length: int) -> None:
    network = ipaddress.IPv4Network((text, length), strict=False)
    assert address.ipv4_int(text) == int(ipaddress.IPv4Address(text))
    assert address.ipv4_span(text) == (address.ipv4_int(text),) * 2
    assert address.ipv4_span(str(network)) == (int(network[0]), int(network[-1]))


def test_port_range() -> None:
    assert address.port_range("80") == (80, 80)
    assert address.port_range("1-65535") == (1, 65535)
