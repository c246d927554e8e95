"""Guest networks and public addresses of a document."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from router.network import GuestNetwork, guest_networks, private_links, public_addresses, public_links
from tests.examples import document, example, read


def network(cidr: str, address: str) -> GuestNetwork:
    parsed = ipaddress.IPv4Network(cidr)
    return GuestNetwork(
        link="guest0", address=address, cidr=cidr, prefix_length=parsed.prefixlen,
        netmask=str(parsed.netmask), mtu=1500,
    )  # fmt: skip


def test_guest_networks() -> None:
    first, second, third, _ = guest_networks(document("everything"))
    assert (first.link, first.address, first.cidr, first.mtu) == ("guest0", "10.1.1.1", "10.1.1.0/24", 1450)
    assert (second.cidr, second.prefix_length, second.netmask) == ("10.1.16.0/20", 20, "255.255.240.0")
    assert (third.addresses6, third.cidrs6) == (("fd00:2::1",), ("fd00:2::/64",))


def test_public_addresses() -> None:
    made = document("everything")
    assert public_links(made) == ["public0", "public1"]
    assert private_links(made) == ["private0"]
    assert public_addresses(made) == ["203.0.113.5", "203.0.113.6", "203.0.113.7", "192.0.2.5", "192.0.2.6"]


@given(st.integers(8, 30), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_whom_a_network_serves(length: int, within: int, asked: int) -> None:
    cidr = ipaddress.IPv4Network((within, length), strict=False)
    own, address = str(cidr[1]), ipaddress.IPv4Address(asked)
    made = network(str(cidr), own)
    assert made.holds(str(address)) == (address in cidr)
    assert not made.serves(own) and not made.serves(str(cidr[0])) and not made.serves(str(cidr[-1]))
    assert made.serves(str(cidr[2]))
    assert made.serves(str(address)) == (address in cidr and address not in (cidr[0], cidr[1], cidr[-1]))


def test_subnets_of_one_link() -> None:
    value = example("two-networks")
    # An address within a subnet that is there is but another address.
    value["interfaces"]["guest0"]["addresses"] = ["10.1.1.1/24", "10.1.1.5/24", "10.1.9.1/24", "10.1.1.6/32"]
    made = next(guest_networks(read(value)))
    assert [(subnet.cidr, subnet.address) for subnet in made.subnets] == [
        ("10.1.1.0/24", "10.1.1.1"),
        ("10.1.9.0/24", "10.1.9.1"),
    ]
    assert made.serves("10.1.9.2") and not made.serves("10.1.9.1") and not made.serves("10.1.8.2")
    assert made.cidrs == ("10.1.1.0/24", "10.1.9.0/24") and made.addresses == ("10.1.1.1", "10.1.9.1")
