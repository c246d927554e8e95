"""No secret of a document stays in a text, however it was written there."""

import json
from typing import Any, cast

import pytest
from pydantic import SecretStr

from appliance.agent import bundle
from appliance.agent.redaction import Redaction
from appliance.model import MASK, Model, Secret
from tests.examples import document


class _Holder(Model):
    one: Secret
    many: dict[str, list[Secret]] = {}


def secrets(value: Any) -> list[str]:
    """All in a document, by its own dump."""
    if isinstance(value, SecretStr):
        return [value.get_secret_value()]
    if isinstance(value, dict):
        return [found for item in value.values() for found in secrets(item)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in secrets(item)]
    return []


def test_every_secret_of_the_example() -> None:
    router = document("everything")
    found = secrets(router.model_dump())
    assert len(found) > 8
    redacted = Redaction(router)
    for secret in found:
        for text in (f"psk={secret};", json.dumps({"key": secret}), f"a\n{secret}\nb"):
            assert secret.splitlines()[-2 if "-----" in secret else 0] not in redacted(text), text
    plain = "nothing of anybody's is in this text, not even a key"
    assert redacted(plain) == plain


@pytest.mark.parametrize("secret", ['a "quoted" \\ one', "Grüße an alle", "longer one", "longer"])
def test_as_others_write_it(secret: str) -> None:
    redacted = Redaction(_Holder(one=SecretStr("longer one"), many={"x": [SecretStr(secret)]}))
    told = f"{secret} {json.dumps(secret)} {json.dumps(secret, ensure_ascii=False)}"
    assert redacted(told).replace('"', "").split() == [MASK] * 3
    assert redacted("longer one") == MASK


def test_what_is_too_short_to_tell_anything_hides_nothing() -> None:
    assert Redaction(_Holder(one=SecretStr("a")))("a cat") == "a cat"


def test_what_is_too_long_is_cut_between_lines() -> None:
    line = "x" * 99 + "\n"
    text = line * (bundle.MOST_BYTES // 100 + 50)
    for last in (False, True):
        cut = bundle.cut(text, last=last)
        assert len(cut) < bundle.MOST_BYTES + 100
        assert {part for part in cut.splitlines() if not part.startswith("...")} == {line.strip()}
        assert cut.splitlines()[0 if last else -1].startswith("... cut")
    assert bundle.cut(line) == line


def test_one_archive_is_made_at_a_time() -> None:
    controller = cast(Any, None)
    first = bundle.begun(controller, {})
    with pytest.raises(bundle.BusyError):
        bundle.begun(controller, {})
    first.close()  # type: ignore[attr-defined]
    bundle.begun(controller, {}).close()  # type: ignore[attr-defined]
