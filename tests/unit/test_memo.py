"""What was computed is kept for as long as its part of the document stays the same object, and no longer."""

import copy

from appliance.memo import per_item, per_sections, unchanged
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
