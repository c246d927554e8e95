"""Which lists a connection meets, and who sends from which address."""

from router.forwarding import forwarding
from tests.examples import document, example, read


def test_lists_by_link_and_direction() -> None:
    found = forwarding(document("everything"))
    assert found.leaving == {
        "guest2": "acl_front_egress", "guest3": "acl_back_egress", "private0": "acl_back_ingress",
    }  # fmt: skip
    assert found.arriving == {
        "guest2": "acl_front_ingress", "guest3": "acl_back_ingress", "private0": "acl_back_egress",
    }  # fmt: skip
    assert found.tiers == ("guest2", "guest3")
    assert [network.link for network in found.isolated] == ["guest0", "guest1"]
    assert found.private_nat == {"private0": ("10.2.1.0/24", "10.2.2.0/24")}


def test_sources_of_either_family() -> None:
    side = next(side for side in forwarding(document("everything")).sides if side.link == "guest0")
    assert side.sources == ("0.0.0.0/32", "10.1.1.0/24", "10.9.0.0/16", "172.21.0.0/16")
    assert side.sources6 == ("::/128", "fd00:1::/64", "fd00:9::/48", "fe80::/10")


def test_without_a_vpc_there_are_no_lists() -> None:
    found = forwarding(document("two-networks"))
    assert not found.leaving and not found.arriving and not found.tiers
    value = example("everything")
    del value["tiers"]
    assert [network.link for network in forwarding(read(value)).isolated] == [
        "guest0", "guest1", "guest2", "guest3",
    ]  # fmt: skip
