"""The base of every typed model: frozen, unknown keys refused, secrets marked as such."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationError, WrapValidator

MASK = "**********"
"""What a GET shows in place of a secret."""
NOT_A_LINE = "must be one line of printable characters"


def _line(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value() == MASK:
        raise ValueError("is a masked value, as a GET shows it, not a secret")
    if not secret.get_secret_value().isprintable():
        raise ValueError(NOT_A_LINE)
    return secret


Secret = SecretStr
SecretLine = Annotated[Secret, AfterValidator(_line)]


class Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document: where (RFC 6901 JSON pointer) and what, in a sentence."""

    pointer: str
    detail: str


class RefusedError(Exception):
    """A document that can't be accepted, with every problem found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems))
        self.problems = problems


def pointer(*parts: str | int) -> str:
    """An RFC 6901 JSON pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _new_items(value: Any, validate: Any) -> Any:
    # JSON has no models in it: they are of the running document, and were validated there with their keys.
    if not isinstance(value, dict):
        return validate(value)
    new = {key: item for key, item in value.items() if not isinstance(item, BaseModel)}
    if len(new) == len(value):
        return validate(value)
    return {**value, **validate(new)}


K = TypeVar("K")
V = TypeVar("V", bound=BaseModel)
Keyed = Annotated[dict[K, V], WrapValidator(_new_items)]
"""Items by a key that a merge patch can name: of ten thousand, only those it brings are validated."""

M = TypeVar("M", bound=Model)


def validated(model: type[M], value: object) -> M:
    """`value` as a model. Raises RefusedError with a pointer for each problem; never shows the value,
    which may be a secret."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RefusedError(list(_problems(error, value))) from None


def _problems(error: ValidationError, value: object) -> Iterator[Problem]:
    for item in error.errors(include_url=False, include_input=False):
        place = item["loc"] if item["type"] == "missing" else _place(item["loc"], value)
        yield Problem(pointer(*place), item["msg"].removeprefix("Value error, "))


def _place(location: tuple[str | int, ...], value: Any) -> tuple[str | int, ...]:
    """What of pydantic's location leads to a part of `value`: behind that it may have "[key]", where a key
    was refused, or the name of a type, where none of several fitted. Where it was plain which of several is
    meant, that one's name stands between two parts that lead on."""
    place: list[str | int] = []
    for part, further in zip_longest(location, location[1:]):
        if isinstance(value, BaseModel):
            return location
        if _leads(value, part):
            place.append(part)
            value = value[part]
        elif further is None or not _leads(value, further):
            break
    return tuple(place)


def _leads(value: Any, part: str | int | None) -> bool:
    return isinstance(part, int) if isinstance(value, list) else isinstance(value, Mapping) and part in value


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` changed by an RFC 7396 merge patch. What the patch doesn't touch is shared, not copied:
    models stay the very same objects, so that later stages see at once what did not change."""
    if not isinstance(patch, Mapping):
        return patch
    if isinstance(target, BaseModel):
        merged = {name: getattr(target, name) for name in target.model_fields_set}
    elif isinstance(target, Mapping):
        merged = dict(target)
    else:
        merged = {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strict_json(text: bytes) -> Any:
    """JSON values. Raises ValueError, also for a key that comes twice: one of the two would be lost."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"The key {key!r} comes twice in one object")
            seen.add(key)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259)")
