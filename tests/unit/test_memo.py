"""What was computed is kept for as long as its part of the document stays the same object, and no longer."""

import copy

from appliance.memo import Pairs, per_item, per_key, per_sections, unchanged
from appliance.model import Model

calls: list[str] = []


class Part(Model):
    name: str


class Whole(Model):
    parts: dict[str, Part] = {}
    other: Part = Part(name="other")


@per_item
def described(part: Part, how: str, *, loud: bool = False) -> str:
    calls.append(part.name)
    return f"{part.name} {how}{'!' if loud else ''}"


@per_sections("parts")
def named(whole: Whole) -> list[str]:
    calls.append("named")
    return list(whole.parts)


def test_per_item() -> None:
    calls.clear()
    part = Part(name="a")
    assert [described(part, "x"), described(part, "x")] == ["a x", "a x"]
    assert calls == ["a"]
    assert [described(part, "y"), described(part, "y", loud=True)] == ["a y", "a y!"]
    assert described(part, "y") == "a y"
    assert calls == ["a"] * 4, "the last context only is kept, keyword arguments included"


def test_a_changed_copy_has_results_of_its_own() -> None:
    part = Part(name="a")
    described(part, "x")
    assert described(part.model_copy(update={"name": "b"}), "x") == "b x"
    assert described(copy.deepcopy(part), "x") == "a x"


def test_what_is_kept_is_no_part_of_the_model() -> None:
    part = Part(name="a")
    described(part, "x")
    assert part == Part(name="a")
    assert Part(name="a") == part
    assert part.model_dump() == {"name": "a"}
    assert part.model_dump_json() == '{"name":"a"}'
    assert repr(part) == "Part(name='a')"
    assert hash(part) == hash(Part(name="a"))


def test_per_sections() -> None:
    calls.clear()
    part = Part(name="a")
    whole = Whole(parts={"a": part})
    assert named(whole) is named(whole)
    assert named(Whole(parts={"a": part}, other=Part(name="new"))) is named(whole), "the very same items"
    assert calls == ["named"]
    assert named(Whole(parts={"b": part})) == ["b"]
    named(Whole(parts={"b": Part(name="a")}))
    assert calls == ["named"] * 3, "equal is not the same"


def test_unchanged() -> None:
    part = Part(name="a")
    assert unchanged(part, part)
    assert unchanged({"a": part}, {"a": part})
    assert not unchanged({"a": part}, {"a": part, "b": part})
    assert not unchanged({"a": part}, {"a": Part(name="a")})
    assert not unchanged([part], [part]), "only mappings are looked into"


def test_of_a_mapping_only_what_is_another_item_is_computed_anew() -> None:
    asked: list[str] = []

    @per_key
    def named(key: str, item: list[int], factor: int) -> int:
        asked.append(key)
        return sum(item) * factor

    items = {key: [number] for number, key in enumerate("abcd")}
    first = named(items, 2)
    assert first == {"a": 0, "b": 2, "c": 4, "d": 6}
    assert named(items, 2) is first
    asked.clear()
    more = {**items, "e": [9]}
    assert named(more, 2) == {**first, "e": 18}
    changed = {**more, "b": [5]}
    del changed["a"]
    assert named(changed, 2) == {"b": 10, "c": 4, "d": 6, "e": 18}
    assert asked == ["e", "b"]
    assert named(changed, 3) == {"b": 15, "c": 6, "d": 9, "e": 27}
    swapped = {"b": changed["c"], "c": changed["b"], "d": changed["d"], "e": changed["e"]}
    assert named(swapped, 3) == {"b": 6, "c": 15, "d": 9, "e": 27}
    assert first == {"a": 0, "b": 2, "c": 4, "d": 6}


def test_pairs_are_the_same_while_both_their_items_are() -> None:
    pairs: Pairs[str, str, str] = Pairs()
    first = pairs.of("x", {"a": "A", "b": "B"}, {"b": "2", "c": "3"})
    assert first == {"a": ("A", None), "b": ("B", "2")}
    assert pairs.of("x", {"a": "A", "b": "B"}, {"b": "2"})["b"] is first["b"]
    assert pairs.of("x", {"a": "A", "b": "B"}, {}) == {"a": ("A", None), "b": ("B", None)}
    assert pairs.of("x", {"b": "B"}, {"b": "4"}) == {"b": ("B", "4")}
