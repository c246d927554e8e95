"""Properties of all documents: they survive being written, mean one thing, and change as patched."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model import RefusedError, merge_patch
from appliance.resources import Resource
from appliance.roles import resources
from router.document import RouterDocument
from tests.documents import documents, patches
from tests.examples import NAMES, document, example, read

PAIRS = st.tuples(documents(), documents())


def dumped(value: RouterDocument) -> Any:
    """As JSON values, secrets in the clear, without what was absent."""
    return json.loads(
        json.dumps(
            value.model_dump(exclude_unset=True),
            default=lambda secret: secret.get_secret_value(),
        )
    )


def same(some: list[Resource], others: list[Resource]) -> bool:
    """The same machine state, in whatever order."""
    return len(some) == len(others) and all(item in others for item in some)


@settings(max_examples=25)
@given(documents())
def test_a_document_survives_being_written(value: Any) -> None:
    made = read(value)
    list(resources(made))
    assert dumped(made) == value, "also after results were kept in it"
    assert read(dumped(made)) == made


@settings(max_examples=25)
@given(documents())
def test_a_document_means_one_machine_state(value: Any) -> None:
    first = list(resources(read(value)))
    backwards = {key: value[key] for key in reversed(value)}
    assert same(first, list(resources(read(backwards))))
    again = read(value)
    assert list(resources(again)) == list(resources(again)) == first


@settings(max_examples=25)
@given(st.data())
def test_a_patched_document_is_the_one_written_whole(data: st.DataObject) -> None:
    whole, other = data.draw(PAIRS)
    running = read(whole)
    list(resources(running))
    for _ in range(8):
        patch = data.draw(patches(whole, other))
        patched = merge_patch(whole, patch)
        try:
            fresh = read(patched)
        except RefusedError as error:
            with pytest.raises(RefusedError) as caught:
                read(merge_patch(running, patch), running)
            assert sorted(map(repr, caught.value.problems)) == sorted(map(repr, error.problems))
            continue
        running, whole = read(merge_patch(running, patch), running), patched
        assert running == fresh
        assert same(list(resources(running)), list(resources(fresh)))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_patch_does_not_touch_stays_the_same_object(name: str) -> None:
    before = document(name)
    after = read(merge_patch(before, {"generation": 99}), before)
    for section in ("interfaces", "dhcp", "dns", "port_forwards", "metadata"):
        old, new = getattr(before, section), getattr(after, section)
        assert all(new[key] is old[key] for key in old)
    assert after.generation == 99


def test_old_forms_are_refused() -> None:
    for old in ({"vpc": {}}, {"networks": []}, {"port_forwards": []}, {"dhcp": None}, {"version": 1}):
        with pytest.raises(RefusedError):
            read({**example("minimal"), **old})
