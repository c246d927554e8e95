"""Guests as a document names them."""

from router.guests import GuestAddress, addresses_of, guest_addresses, is_address, network_of
from router.network import guest_networks
from tests.examples import document, example, read


def test_each_address_once() -> None:
    found = guest_addresses(document("everything"))
    assert sorted(guest.address for guest in found) == [
        "10.1.1.10", "10.1.1.11", "10.1.1.12", "10.1.1.99", "10.1.17.10", "fd00:1::50",
    ]  # fmt: skip
    assert GuestAddress("10.1.17.10", "guest1") in found
    assert GuestAddress("fd00:1::50", "guest0") in found


def test_a_card_may_have_an_address_beside_its_reservation() -> None:
    value = example("everything")
    value["metadata"]["guest0"]["guests"]["02:00:0a:01:01:0a"]["address"] = "10.1.1.77"
    assert addresses_of("02:00:0a:01:01:0a", read(value)) == ["10.1.1.10", "10.1.1.77"]
    assert addresses_of("02:00:00:00:00:01", read(value)) == []


def test_mac_addresses_are_not_ip_addresses() -> None:
    assert not is_address("02:00:0a:01:01:0a")
    assert all(map(is_address, ("10.1.1.1", "fd00::1", "fd00:1:2:3::5", "1:2:3:4:5:6:7:8")))


def test_the_network_of_an_address() -> None:
    found = document("everything")
    networks = list(guest_networks(found))
    for address, link in (("10.1.1.7", "guest0"), ("fd00:1::7", "guest0"), ("10.1.17.1", "guest1"),
                          ("10.9.9.9", None), ("fd00:2::7", "guest2"), ("fd00:3::7", None)):  # fmt: skip
        assert network_of(address, found, networks) == link
