"""No secret of a document, of any section, in what people see of it: GET, errors, the state it means."""

import json
from typing import Any

import pytest

from appliance.model import RefusedError, merge_patch
from appliance.rendering import pieces
from appliance.roles import resources
from tests.examples import document, example, read
from tests.unit.agent.test_redaction import secrets

ROUTER = document("everything")
SECRETS = sorted(
    {
        line
        for secret in secrets(ROUTER.model_dump())
        # The end of a private key is the public one, which is in its certificate, too.
        for line in (secret.splitlines()[1:3] if secret.startswith("-----BEGIN") else [secret])
    }
)


def found_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text or json.dumps(secret)[1:-1] in text]


def test_the_example_has_secrets_of_every_kind() -> None:
    assert len(SECRETS) > 10
    assert found_in("\n".join(SECRETS)) == SECRETS


def test_what_is_got_of_it() -> None:
    assert found_in(json.dumps(ROUTER.model_dump(mode="json"))) == []
    assert found_in(repr(ROUTER)) == found_in(str(ROUTER)) == []


def test_the_state_that_it_means() -> None:
    wanted = list(resources(ROUTER))
    assert found_in("\n".join(pieces(wanted))) == []


@pytest.mark.parametrize(
    "patch",
    [
        {"interfaces": {"guest0": {"addresses": ["10.9.0.1/24"]}}},
        {"interfaces": {"public0": {"addresses": ["192.0.2.77/24"]}}},
        {"remote_access": {"pool": ["10.1.1.0/26"], "users": {"alice": {"reach": ["guest0;x"]}}}},
        {"certificates": {"www": {"key": "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n"}}},
        {"colour": "red"},
    ],
    ids=lambda patch: "-".join(patch),
)
def test_why_it_is_refused(patch: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        read(merge_patch(example("everything"), patch))
    said = str(refused.value) + repr(refused.value.problems)
    assert found_in(said) == []
