"""Take the secrets of a document out of texts that people are given."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, SecretStr

from appliance.model import MASK

_LEAST = 4
"""Characters. What is shorter is in half of all words, and nothing is told by it."""
_PEM = "-----"


class Redaction:
    """`sources` are models that have secrets somewhere in them."""

    def __init__(self, *sources: BaseModel) -> None:
        forms = {form for source in sources for secret in _secrets(source) for form in _forms(secret)}
        # The longest first: one may be part of another.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text


def _secrets(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from _secrets(item)
        case str() | bytes():
            return
        case Sequence():
            for item in value:
                yield from _secrets(item)


def _forms(secret: str) -> Iterator[str]:
    """As it is, as JSON and quoting daemons write it, and line by line: a log has lines, and of a key in PEM
    each is part of the secret."""
    for line in (secret, *secret.splitlines()):
        if len(line) >= _LEAST and not line.startswith(_PEM):
            yield line
            yield json.dumps(line)[1:-1]
            yield json.dumps(line, ensure_ascii=False)[1:-1]
