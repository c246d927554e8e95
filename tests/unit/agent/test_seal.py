"""Passwords are replaced by their keyed digests before anything keeps them."""

from pathlib import Path
from typing import Any

import pytest

from appliance.agent.seal import PREFIX, Sealer
from appliance.model import RefusedError
from router.role import SEALED
from tests.examples import example

MAC = "02:00:0a:01:01:0a"


def password(text: Any, mac: str = MAC) -> dict[str, Any]:
    return {"metadata": {"guest0": {"guests": {mac: {"instance_id": "i", "password": text}}}}}


def digest(value: Any, mac: str = MAC) -> str:
    return str(value["metadata"]["guest0"]["guests"][mac]["password"])


def test_sealed_and_found_again() -> None:
    value = example("everything")
    sealed, found = Sealer(b"key").seal(value, SEALED)
    assert value == example("everything"), "the value given is left as it is"
    assert "only an example" not in repr(sealed["metadata"])
    assert found == {digest(sealed): "only an example"}
    assert digest(sealed).startswith(PREFIX)
    assert sealed["dhcp"] is value["dhcp"], "what isn't sealed is shared"


def test_a_digest_tells_nothing_but_sameness() -> None:
    sealer, other = Sealer(b"key"), Sealer(b"other")
    first, _ = sealer.seal(password("x"), SEALED)
    assert sealer.seal(password("x"), SEALED)[0] == first
    assert digest(sealer.seal(password("y"), SEALED)[0]) != digest(first)
    assert digest(other.seal(password("x"), SEALED)[0]) != digest(first), "another appliance's key"
    moved = password("x", "02:00:0a:01:01:0b")
    assert digest(sealer.seal(moved, SEALED)[0], "02:00:0a:01:01:0b") != digest(first), "another guest's"


@pytest.mark.parametrize("text", ["**********", "sealed:00", "two\nlines", "\ud800", "\0", "\u2028"])
def test_what_can_be_no_password_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Sealer(b"key").seal(password(text), SEALED)
    (problem,) = caught.value.problems
    assert problem.pointer == f"/metadata/guest0/guests/{MAC}/password"
    assert text not in problem.detail


@pytest.mark.parametrize(
    "value",
    [None, [], {}, "x", {"metadata": []}, {"metadata": {"guest0": None}}, password(None), password(5)],
)
def test_other_forms_are_left_to_the_model(value: Any) -> None:
    assert Sealer(b"key").seal(value, SEALED) == (value, {})


def test_a_key_that_is_no_text_is_left_to_the_model() -> None:
    sealed, _ = Sealer(b"key").seal(password("x", "\ud800"), SEALED)
    assert digest(sealed, "\ud800").startswith(PREFIX)


def test_the_key_stays(tmp_path: Path) -> None:
    first = Sealer.of(tmp_path).seal(password("x"), SEALED)
    assert Sealer.of(tmp_path).seal(password("x"), SEALED) == first
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600
