"""The documents of docs/examples, which tests stand on, too."""

import json
from pathlib import Path
from typing import Any

from appliance import roles
from appliance.model import Problem, RefusedError
from router.document import RouterDocument

ROOT = Path(__file__).parent.parent
DIRECTORY = ROOT / "docs" / "examples"
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.json"))


def example(name: str) -> Any:
    """The JSON values of an example, the caller's own."""
    return json.loads((DIRECTORY / f"{name}.json").read_bytes())


def read(value: Any, known_good: RouterDocument | None = None) -> RouterDocument:
    document = roles.read("router", value, known_good)
    assert isinstance(document, RouterDocument)
    return document


def document(name: str) -> RouterDocument:
    return read(example(name))


def problems(value: Any) -> list[Problem]:
    """Why a document is refused; empty where it isn't."""
    try:
        read(value)
    except RefusedError as error:
        return error.problems
    return []


def looked_up(value: Any, pointer: str) -> Any:
    """What an RFC 6901 pointer leads to. Raises LookupError, ValueError or TypeError where to nothing."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
