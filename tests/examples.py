"""The documents of docs/examples, which tests stand on, too."""

import json
from pathlib import Path
from typing import Any

from appliance import roles
from appliance.document import Document
from appliance.model import Problem, RefusedError
from router.document import RouterDocument

ROOT = Path(__file__).parent.parent
DIRECTORY = ROOT / "docs" / "examples"
ALL = sorted(path.stem for path in DIRECTORY.glob("*.json"))
ROLE_OF = {name: json.loads((DIRECTORY / f"{name}.json").read_bytes())["role"] for name in ALL}
NAMES = [name for name in ALL if ROLE_OF[name] == "router"]
"""Those of routers."""


def example(name: str) -> Any:
    """The JSON values of an example, the caller's own."""
    return json.loads((DIRECTORY / f"{name}.json").read_bytes())


def read(value: Any, known_good: RouterDocument | None = None) -> RouterDocument:
    document = roles.read("router", value, known_good)
    assert isinstance(document, RouterDocument)
    return document


def document(name: str) -> RouterDocument:
    return read(example(name))


def any_document(name: str) -> Document:
    """Of any role."""
    return roles.read(ROLE_OF[name], example(name))


def problems(value: Any, known_good: RouterDocument | None = None) -> list[Problem]:
    """Why a document is refused; empty where it isn't."""
    try:
        read(value, known_good)
    except RefusedError as error:
        return error.problems
    return []


def looked_up(value: Any, pointer: str) -> Any:
    """What an RFC 6901 pointer leads to. Raises LookupError, ValueError or TypeError where to nothing."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
