"""Spans as nft lists them, and the parts of overlapping boxes."""

import ipaddress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.elements import Box, number_text, parts, span_text

SPANS = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda ends: (min(ends), max(ends)))


def points(boxes: list[Box]) -> list[tuple[int, ...]]:
    return [point for box in boxes for point in product(*(range(first, last + 1) for first, last in box))]


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[SPANS] * width), max_size=7)))
def test_parts_cover_the_same_once(boxes: list[Box]) -> None:
    found = list(parts(boxes))
    covered = points([part for part, _ in found])
    assert set(covered) == set(points(boxes))
    assert len(covered) == len(set(covered)), "parts are disjoint"
    for part, wholes in found:
        for box in set(boxes):
            shared = set(points([box])) & set(points([part]))
            assert shared == (set(points([part])) if box in wholes else set()), "of the same boxes all over"


def test_what_does_not_overlap_stays_whole() -> None:
    boxes: list[Box] = [((number, number), (0, 100), (0, 9)) for number in range(2000)]
    assert sorted(parts(boxes)) == [(box, (box,)) for box in sorted(boxes)]
    assert list(parts([boxes[0], boxes[0]])) == [(boxes[0], (boxes[0],))]
    assert list(parts([])) == []


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_span_reads_as_the_addresses_it_has(one: int, other: int) -> None:
    first, last = min(one, other), max(one, other)
    text = span_text(first, last)
    if "-" in text:
        ends = [int(ipaddress.IPv4Address(end)) for end in text.split("-")]
        assert len(list(ipaddress.summarize_address_range(*map(ipaddress.IPv4Address, ends)))) > 1
    else:
        network = ipaddress.IPv4Network(text)
        ends = [int(network.network_address), int(network.broadcast_address)]
    assert ends == [first, last]


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_prefix_is_written_as_one(address: int, length: int) -> None:
    network = ipaddress.IPv4Network((address, length), strict=False)
    text = str(network).removesuffix("/32")
    assert span_text(int(network.network_address), int(network.broadcast_address)) == text


@pytest.mark.parametrize(("span", "text"), [((80, 80), "80"), ((0, 65535), "0-65535"), ((1, 2), "1-2")])
def test_numbers(span: tuple[int, int], text: str) -> None:
    assert number_text(*span) == text
