"""Ordered rules as layers: the first match is what a search of the list finds."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from router.layers import Layering, Layers, Prefix, Rule

WIDTH, NUMBERS = 4, 6
prefixes = st.integers(0, WIDTH).flatmap(
    lambda length: st.builds(Prefix, st.just(length), st.integers(0, 2**length - 1))
)
spans = st.tuples(*[st.integers(0, NUMBERS - 1)] * 2).map(lambda ends: (min(ends), max(ends)))
rules = st.lists(st.lists(st.tuples(prefixes, spans), min_size=1, max_size=3), max_size=12)


def holds(rule: list[tuple[Prefix, tuple[int, int]]], address: int, number: int) -> bool:
    return any(
        address >> (WIDTH - prefix.length) == prefix.bits and first <= number <= last
        for prefix, (first, last) in rule
    )


@given(rules)
def test_the_first_match_is_in_the_first_layer_with_one(
    made: list[list[tuple[Prefix, tuple[int, int]]]],
) -> None:
    layers = Layers(prefix.length for rule in made for prefix, _ in rule)
    placed = [layers.layer(rule) for rule in made]
    for address in range(2**WIDTH):
        for number in range(NUMBERS):
            matching = [place for place, rule in enumerate(made) if holds(rule, address, number)]
            depths = [placed[place] for place in matching]
            assert len(set(depths)) == len(depths), "two of one layer match the same packet"
            assert depths == sorted(depths), "a later rule is looked up earlier"


def test_rules_that_have_nothing_in_common_are_one_layer() -> None:
    layers = Layers([0, 32])
    hosts = [layers.layer([(Prefix(32, host), (22, 22))]) for host in range(100)]
    assert hosts == [0] * 100
    assert layers.layer([(Prefix(0, 0), (0, 65535))]) == 1, "what denies the rest"


@given(rules, st.randoms())
def test_rules_that_come_and_go_are_where_they_would_be(
    made: list[list[tuple[Prefix, tuple[int, int]]]], random: Random
) -> None:
    numbered = {str(number): Rule(number, tuple(boxes)) for number, boxes in enumerate(made)}
    names = list(numbered)
    random.shuffle(names)
    first = {name: numbered[name] for name in names[: len(names) // 2]}
    layering = Layering(first, WIDTH)
    for name in names[len(names) // 2 :]:
        first[name] = numbered[name]
        before = dict(layering.layers)
        moved = layering.add(name, numbered[name])
        if moved is None:
            assert layering.layers == before
            layering = Layering(first, WIDTH)
        assert layering.layers == Layering(first, WIDTH).layers
    for name in names[::2]:
        del first[name]
        before = dict(layering.layers)
        moved = layering.remove(name)
        if moved is None:
            assert layering.layers == before
            layering = Layering(first, WIDTH)
        assert layering.layers == Layering(first, WIDTH).layers
        assert moved is None or moved == {
            other: layer
            for other, layer in before.items()
            if other != name and layering.layers[other] != layer
        }


def test_a_rule_goes_alone_where_others_keep_the_last_one_where_it_is() -> None:
    everywhere = Rule(1000, ((Prefix(0, 0), (0, 65535)),))
    hosts = {str(host): Rule(host, ((Prefix(8, host), (22, 22)),)) for host in range(100)}
    layering = Layering({**hosts, "rest": everywhere}, 8)
    assert all(layering.remove(str(host)) == {} for host in range(99))
    assert layering.remove("99") == {"rest": 1}, "the rest moves to the first layer"
    assert layering.layers == {"rest": 0}
    assert layering.add("99", hosts["99"]) == {"rest": 0}


def test_what_many_lie_upon_is_not_looked_at_one_by_one() -> None:
    everywhere = Rule(1, ((Prefix(0, 0), (0, 65535)),))
    hosts = {str(host): Rule(2 + host, ((Prefix(8, host), (22, 22)),)) for host in range(100)}
    layering = Layering(hosts, 8)
    assert layering.add("first", everywhere) is None
    assert layering.layers == dict.fromkeys(hosts, 0)
    layering = Layering({**hosts, "first": everywhere}, 8)
    assert layering.remove("first") is None
