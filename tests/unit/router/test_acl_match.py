"""What a rule matches, as boxes and as elements."""

from typing import Any

import pytest

from router.acl_match import Box, boxes, element
from router.document import AclRule


def rule(**fields: Any) -> AclRule:
    return AclRule.model_validate({"number": 1, "direction": "ingress", "verdict": "drop", **fields})


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([], [(0, 65535)]),
        ([80], [(80, 80)]),
        (["1-10", 11, "5-20", 30], [(1, 20), (30, 30)]),
        ([443, 80], [(80, 80), (443, 443)]),
    ],
)
def test_ports_are_merged(ports: list[Any], expected: list[tuple[int, int]]) -> None:
    found = boxes(rule(protocol="tcp", ports=ports, cidrs=["10.0.0.0/8"]))
    assert [box.detail for box in found] == expected


def test_networks_are_merged_by_family() -> None:
    found = boxes(rule(cidrs=["10.0.0.0/9", "fd00::/8", "10.128.0.0/9", "fd00:1::/32"]))
    assert [(box.version, box.cidr) for box in found] == [(4, "10.0.0.0/8"), (6, "fd00::/8")]


def test_icmp_is_of_its_family() -> None:
    assert [box.version for box in boxes(rule(protocol="icmp"))] == [4]
    assert [box.version for box in boxes(rule(protocol="icmpv6"))] == [6]
    assert [box.version for box in boxes(rule(protocol="udp"))] == [4, 6]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(4, "10.0.0.1/32", (6, 6), (80, 80)), ("ports", "80 . 6 . 10.0.0.1")),
        (Box(6, "fd00::1/128", (17, 17), (1, 9)), ("ports", "1-9 . 17 . fd00::1")),
        (Box(4, "10.0.0.0/8", (1, 1), (0, 65535)), ("icmp", "10.0.0.0/8 . 0-255 . 0-255")),
        (Box(6, "::/0", (58, 58), (256, 511)), ("icmp", "::/0 . 1 . 0-255")),
        (Box(6, "::/0", (1, 1), (0, 65535)), ("protocol", "::/0 . 1")),
        (Box(4, "0.0.0.0/0", (0, 255), (0, 65535)), ("protocol", "0.0.0.0/0 . 0-255")),
    ],
)
def test_elements_as_nft_lists_them(box: Box, expected: tuple[str, str]) -> None:
    assert element(box, crowded=False) == expected


def test_a_crowd_begins_with_the_address() -> None:
    box = Box(4, "10.0.0.1/32", (6, 6), (80, 80))
    assert element(box, crowded=True) == ("crowd", "10.0.0.1 . 6 . 80")
