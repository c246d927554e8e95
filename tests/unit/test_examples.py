"""What docs/ shows is so: every example is a valid document, and the published schema is the model's."""

import json

import pytest
from click.testing import CliRunner

from appliance import cli, roles
from appliance.document_schema import document_schema
from appliance.roles import document_model
from tests.examples import ALL, DIRECTORY, ROLE_OF, ROOT, any_document


@pytest.mark.parametrize("name", ALL)
def test_examples_are_valid(name: str) -> None:
    assert any_document(name).role == ROLE_OF[name]
    result = CliRunner().invoke(cli.main, ["validate", str(DIRECTORY / f"{name}.json")])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("role", sorted(roles.ROLES))
def test_the_published_schema_is_the_models(role: str) -> None:
    published = (ROOT / "docs" / "schema" / f"{role}.json").read_text()
    result = CliRunner().invoke(cli.main, ["schema", role])
    assert published == result.output, "stale; `make schema` writes it anew"
    assert json.loads(published)["additionalProperties"] is False


def test_the_schema_takes_ports_as_examples_write_them() -> None:
    """As a number, which the model makes text of: a schema by the type alone would refuse it."""
    schema = document_schema(document_model("router"))
    ports = schema["$defs"]["PortForward"]["properties"]["ports"]
    assert [choice["type"] for choice in ports["anyOf"]] == ["integer", "string"]
