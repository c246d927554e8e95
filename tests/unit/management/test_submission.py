"""What comes in: filled in, unmasked, refused with pointers; and what goes out again."""

import json

import pytest

from appliance.boot import ControlInterface
from appliance.management.inventory import Appliance
from appliance.management.openapi import description
from appliance.management.submission import MASK, NotJsonError, accepted, parsed, shown
from appliance.model import RefusedError
from appliance.roles import UnknownRoleError, document_model

APPLIANCE = Appliance(
    id=1, name="r1", role="router", port=8443, created=0, certificate_expires=None, wanted=1,
    control=ControlInterface(mac="02:00:00:00:00:01", address="169.254.3.2/24"),
    wanted_digest=None, state="pending", problems=(), reported=None, reported_digest=None,
    last_error=None, last_contact=None, attempts=0, next_try=0,
)  # fmt: skip


def guests(password: str) -> dict[str, object]:
    guest = {"address": "10.1.1.9", "instance_id": "i-1", "password": password}
    guest0 = {"mac": "02:00:00:00:00:02", "addresses": ["10.1.1.1/24"]}
    return {
        "interfaces": {"guest0": guest0},
        "metadata": {"guest0": {"guests": {"02:00:00:00:00:09": guest}}},
    }


def test_role_and_name_are_filled_in() -> None:
    assert accepted(APPLIANCE, {}, stored=None) == {"role": "router", "name": "r1"}


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ({"role": "consoleproxy"}, "/role"),
        ({"name": "r2"}, "/name"),
        ({"bogus": 1}, "/bogus"),
        ({"generation": "1"}, "/generation"),
        ({"dhcp": {"guest0": {"lease_seconds": 1}}}, "/dhcp/guest0/lease_seconds"),
    ],
)
def test_problems_have_pointers(content: dict[str, object], pointer: str) -> None:
    with pytest.raises(RefusedError) as caught:
        accepted(APPLIANCE, content, stored=None)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]


def test_what_is_shown_can_be_put_again() -> None:
    stored = accepted(APPLIANCE, guests("s3cret"), stored=None)
    visible = shown(APPLIANCE, json.dumps(stored | {"generation": 4}))
    assert "s3cret" not in json.dumps(visible)
    assert visible == {"role": "router", "name": "r1", **guests(MASK)}
    assert accepted(APPLIANCE, visible, stored=json.dumps(stored)) == stored


def test_mask_without_a_known_secret_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        accepted(APPLIANCE, guests(MASK), stored=None)
    assert caught.value.problems[0].pointer == "/metadata/guest0/guests/02:00:00:00:00:09/password"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"a": NaN}', b"[" * 100_000, b"\xff"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(NotJsonError):
        parsed(body)


def test_roles_name_existing_models() -> None:
    assert document_model("router").__name__ == "RouterDocument"
    with pytest.raises(UnknownRoleError, match="router"):
        document_model("toaster")


def test_references_of_the_api_description_lead_somewhere() -> None:
    text = json.dumps(description())
    schemas = description()["components"]["schemas"]
    named = {piece.split('"')[0] for piece in text.split("#/components/schemas/")[1:]}
    assert named <= schemas.keys()
    assert "#/$defs" not in text
