"""The places of a document where text stands, found by walking its JSON Schema along with it."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.document_schema import document_schema
from router.document import RouterDocument

SCHEMA = document_schema(RouterDocument)
ANY = "*"
KEY = "<key>"
Kind = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    kind: Kind
    """The path with `*` for any key or index; ends with `<key>` where the text is a key itself."""
    path: tuple[str | int, ...]
    text: str

    def changed(self, document: Any, text: str) -> Any:
        """A copy of the document with another text in this place."""
        document = copy.deepcopy(document)
        parent = document
        for part in self.path[:-1]:
            parent = parent[part]
        if self.kind[-1] == KEY:
            items = list(parent.items())
            parent.clear()
            parent.update({text if key == self.path[-1] else key: value for key, value in items})
        else:
            parent[self.path[-1]] = text
        return document


def places(
    value: Any, schema: Any = SCHEMA, path: tuple[str | int, ...] = (), kind: Kind = ()
) -> Iterator[Place]:
    """All places of text in a valid document."""
    if isinstance(value, str):
        yield Place(kind, path, value)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, _part(schema, ANY), (*path, number), (*kind, ANY))
    elif isinstance(value, dict):
        properties = _object(schema).get("properties", {})
        for key, item in value.items():
            name = key if key in properties else ANY
            if name == ANY:
                yield Place((*kind, KEY), (*path, key), key)
            yield from places(item, _part(schema, name), (*path, key), (*kind, name))


def one_of_each_kind(value: Any) -> list[Place]:
    """One place of each kind; addresses of both families where there are both."""
    found: dict[tuple[Kind, bool], Place] = {}
    for place in places(value):
        found.setdefault((place.kind, ":" in place.text), place)
    return list(found.values())


def text_kinds(schema: Any = SCHEMA, kind: Kind = ()) -> Iterator[Kind]:
    """Every kind of place where a document can have text."""
    for choice in _choices(schema):
        if choice.get("type") == "string" and "enum" not in choice and "const" not in choice:
            yield kind
        elif choice.get("type") == "array":
            yield from text_kinds(choice["items"], (*kind, ANY))
        elif choice.get("type") == "object":
            for name, part in choice.get("properties", {}).items():
                yield from text_kinds(part, (*kind, name))
            for part in _mapped(choice):
                yield (*kind, KEY)
                yield from text_kinds(part, (*kind, ANY))


def _choices(schema: Any) -> list[Any]:
    if "$ref" in schema:
        return _choices(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return [found for choice in schema["anyOf"] for found in _choices(choice)]
    return [schema]


def _mapped(schema: Any) -> list[Any]:
    found = [*schema.get("patternProperties", {}).values()]
    if isinstance(schema.get("additionalProperties"), dict):
        found.append(schema["additionalProperties"])
    return found


def _object(schema: Any) -> Any:
    return next(choice for choice in _choices(schema) if choice.get("type") == "object")


def _part(schema: Any, name: str) -> Any:
    for choice in _choices(schema):
        if choice.get("type") == "array" and name == ANY:
            return choice["items"]
        if choice.get("type") == "object":
            return choice["properties"][name] if name != ANY else _mapped(choice)[0]
    raise LookupError(name)
