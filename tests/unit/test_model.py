"""Refusals say where, patches do what RFC 7396 says, and secrets stay secret."""

import copy
from typing import Any

import pytest
from pydantic import Field

from appliance.model import (
    Model,
    Problem,
    RefusedError,
    Secret,
    merge_patch,
    pointer,
    strict_json,
    validated,
)
from tests.examples import example, looked_up, problems, read

# RFC 7396, appendix A: target, patch, result.
VECTORS: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


class Item(Model):
    number: int | str = 1
    secret: Secret | None = None


class Box(Model):
    items: dict[str, Item] = {}
    few: dict[str, list[int]] = Field(default={}, max_length=2)
    default: Item = Item()


@pytest.mark.parametrize(("target", "patch", "result"), VECTORS)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy((target, patch))
    assert merge_patch(target, patch) == result
    assert (target, patch) == before, "neither is changed"


def test_a_patched_model_shares_what_stays() -> None:
    box = validated(Box, {"items": {"a": {"number": 1}, "b": {"secret": "s3cret"}}, "few": {"x": [1]}})
    after = validated(Box, merge_patch(box, {"items": {"a": {"number": 2}, "c": {}}, "few": {"x": None}}))
    assert after.items["b"] is box.items["b"]
    assert after.items["a"].number == 2
    assert list(after.items) == ["a", "b", "c"]
    assert after.few == {}
    assert box.items["a"].number == 1, "the running document is not changed"
    assert "default" not in after.model_fields_set, "a default that nobody set isn't set by a patch"
    changed = validated(Box, merge_patch(box, {"items": {"b": {"number": 5}}}))
    secret = changed.items["b"].secret
    assert secret is not None and secret.get_secret_value() == "s3cret", "in the clear, not masked"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"bogus": 1}, "/bogus"),
        ({"items": {"a/b~": {"number": 1.5}}}, "/items/a~1b~0/number"),
        ({"items": {"[key]": {"bogus": 1}}}, "/items/[key]/bogus"),
        ({"items": []}, "/items"),
        ({"few": {"x": [1, "2"]}}, "/few/x/1"),
        ([], ""),
        (None, ""),
    ],
)
def test_pointers(value: Any, where: str) -> None:
    with pytest.raises(RefusedError) as caught:
        validated(Box, value)
    assert {problem.pointer for problem in caught.value.problems} == {where}
    looked_up(value, where)


def test_pointer() -> None:
    assert pointer() == ""
    assert pointer("a/b", 0, "~1") == "/a~1b/0/~01"


def test_every_refusal_leads_into_the_document() -> None:
    """Break each value of a document that has everything, and look where the refusal points."""

    def refused(section: str) -> list[Problem]:
        # What isn't broken stays as it was accepted: it needn't be read again for each of thousands.
        return problems(merge_patch(accepted, {}) | {section: document[section]}, accepted)

    def broken(value: Any, path: tuple[str | int, ...] = ()) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items):
            if isinstance(item, dict | list):
                broken(item, (*path, key))
            for wrong in (object, -1.5, {"\n": 1}, [[]], "\n"):
                value[key] = wrong
                found = refused(str((*path, key)[0]))
                assert found, (path, key, wrong)
                for problem in found:
                    missing = problem.detail == "Field required"
                    looked_up(document, problem.pointer.rpartition("/")[0] if missing else problem.pointer)
                    assert "\n" not in problem.detail
            value[key] = item

    document, accepted = example("everything"), read(example("everything"))
    broken(document)
    assert problems(document) == []


def test_errors_never_show_a_secret() -> None:
    guest = "/metadata/guest0/guests/02:00:0a:01:01:0a/"
    for field, wrong in (("password", "s3cret\n"), ("password", {"s3cret": 1}), ("user_data", "s3cret!")):
        value = example("everything")
        value["metadata"]["guest0"]["guests"]["02:00:0a:01:01:0a"][field] = wrong
        (problem,) = problems(value)
        assert problem.pointer == guest + field
        assert "s3cret" not in problem.detail
    value = example("everything")
    value["metadata"]["guest0"]["guests"]["02:00:0a:01:01:0a"]["bogus"] = 1
    assert "only an example" not in repr(problems(value))
    assert "s3cret" not in repr(Item(secret=Secret("s3cret"))) + str(Item(secret=Secret("s3cret")))


@pytest.mark.parametrize(
    "text", [b'{"a": 1, "a": 2}', b'[{"a": {"b": 1, "b": 1}}]', b"NaN", b"-Infinity", b"{"]
)
def test_strict_json_refuses(text: bytes) -> None:
    with pytest.raises(ValueError):
        strict_json(text)


def test_strict_json() -> None:
    assert strict_json(b'{"a": [1, {"a": null}], "b": "\\u00e9"}') == {"a": [1, {"a": None}], "b": "é"}
