"""How the two routers of a pair hear one another."""

from router.paths import PathAddresses, paths
from tests.examples import document, example, read


def test_a_router_that_is_alone_has_none() -> None:
    assert paths(document("router")) == {}


def test_guest_links_have_a_path_without_being_told() -> None:
    one, other = paths(document("pair-r1")), paths(document("pair-r2"))
    assert one["guest0"] == PathAddresses("169.254.128.0/31", "169.254.128.1", source="169.254.4.2")
    assert other["guest0"] == PathAddresses("169.254.128.1/31", "169.254.128.0", source="169.254.4.1")
    assert {link: (way.address, way.peer) for link, way in one.items()} == {
        link: (way.peer, way.address) for link, way in other.items()
    }
    assert list(one) == ["guest0", "sync0"], "a public network may be shared with other pairs"


def test_each_link_has_addresses_of_its_own() -> None:
    value = example("pair-r1")
    value["interfaces"]["guest999"] = {"mac": "02:00:0a:01:99:01", "addresses": ["10.99.0.1/24"]}
    assert paths(read(value))["guest999"].own == "169.254.135.206/31"


def test_adverts_come_from_the_sync_link_or_from_the_one_path_of_multicast() -> None:
    value = example("pair-r1")
    value["redundancy"]["multicast"] = "guest0"
    assert {way.source for way in paths(read(value)).values()} == {"169.254.128.1"}
