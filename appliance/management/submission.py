"""What is sent to the management plane, on its way in: parsed, filled in, validated; and shown again
with its secrets masked."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from appliance import roles
from appliance.boot import API_PORT, ControlInterface
from appliance.management.inventory import Appliance
from appliance.model import Model, Problem, RefusedError, pointer, strict_json
from appliance.roles import document_model

MASK = "**********"
"""What pydantic shows of a SecretStr."""


class NewAppliance(Model):
    """What has to be said to make an appliance."""

    name: str
    role: str
    control: ControlInterface
    port: Annotated[int, Field(ge=1, le=65535)] = API_PORT


class NotJsonError(ValueError):
    """A body that is no JSON (RFC 8259) object."""


def parsed(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises NotJsonError."""
    try:
        value = strict_json(content)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"Line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise NotJsonError("It is nested too deeply.") from None
    except ValueError as error:
        raise NotJsonError(f"{error}.") from None
    if not isinstance(value, dict):
        raise NotJsonError("It must be a JSON object.")
    return value


def accepted(appliance: Appliance, content: Mapping[str, Any], *, stored: str | None) -> dict[str, Any]:
    """The document that `content` means for an appliance, valid but for its generation, which may be
    missing. A masked secret stands for the one in `stored`, so that what GET shows can be PUT again.

    Raises RefusedError with every problem.
    """
    document: dict[str, Any] = {"role": appliance.role, "name": appliance.name, **content}
    if document["role"] != appliance.role:
        raise RefusedError([Problem("/role", f"must be {appliance.role}, the appliance's role")])
    if document["name"] != appliance.name:
        raise RefusedError([Problem("/name", f"must be {appliance.name}, the appliance's name")])
    problems: list[Problem] = []
    document = _unmasked(document, json.loads(stored) if stored else None, (), problems)
    if problems:
        raise RefusedError(problems)
    # Any generation will do to validate the rest; which one it gets is for the inventory to say.
    roles.read(appliance.role, {"generation": 1, **document})
    return document


def shown(appliance: Appliance, stored: str) -> dict[str, Any]:
    """A stored document as it may be shown: as it was put, every secret masked. Without its generation,
    so that it can be changed and put again; the number is what the ETag is for."""
    model = document_model(appliance.role)
    content: dict[str, Any] = model.model_validate_json(stored).model_dump(
        mode="json", exclude_unset=True, exclude={"generation"}
    )
    return content


def _unmasked(value: Any, kept: Any, place: tuple[str | int, ...], problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        known = kept if isinstance(kept, dict) else {}
        return {key: _unmasked(item, known.get(key), (*place, key), problems) for key, item in value.items()}
    if isinstance(value, list):
        known_items = kept if isinstance(kept, list) and len(kept) == len(value) else [None] * len(value)
        return [
            _unmasked(item, known_item, (*place, index), problems)
            for index, (item, known_item) in enumerate(zip(value, known_items, strict=True))
        ]
    if value != MASK:
        return value
    if isinstance(kept, str):
        return kept
    problems.append(Problem(pointer(*place), "is a masked secret, and none is known here: give the secret"))
    return value
