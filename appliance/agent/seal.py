"""Replace what may be handed out only once by its keyed digest, before anything keeps it.

A document that says `"password": "..."` is stored, compared and logged as `"sealed:<HMAC-SHA256>"`. The key
never leaves the appliance, so the digest tells nobody what the password was, but the same document pushed
again is still the same.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance import disk
from appliance.model import MASK, NOT_A_LINE, Problem, RefusedError, pointer

PREFIX = "sealed:"
_ANY = "*"


class Sealer:
    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, directory: Path) -> "Sealer":
        """With the appliance's own key, made on the first start."""
        path = directory / "seal.key"
        if not path.exists():
            disk.replace(path, secrets.token_bytes(32), mode=0o600)
        return cls(path.read_bytes())

    def seal(self, value: Any, places: Sequence[Sequence[str]]) -> tuple[Any, dict[str, str]]:
        """JSON `value` with the text at each place sealed (`*` stands for any key), and what was sealed,
        by its digest. The value given is left as it is. Raises RefusedError for what only looks sealed."""
        found: dict[str, str] = {}
        for place in places:
            value = self._walk(value, place, (), found)
        return value, found

    def _walk(self, value: Any, place: Sequence[str], at: tuple[str, ...], found: dict[str, str]) -> Any:
        if not place:
            return self._digest(value, at, found) if isinstance(value, str) else value
        if not isinstance(value, Mapping):
            return value
        changed = {}
        for key in list(value) if place[0] == _ANY else [place[0]]:
            if key in value:
                new = self._walk(value[key], place[1:], (*at, key), found)
                if new is not value[key]:
                    changed[key] = new
        return {**value, **changed} if changed else value

    def _digest(self, text: str, at: tuple[str, ...], found: dict[str, str]) -> str:
        if text.startswith(PREFIX) or text == MASK:
            raise RefusedError([Problem(pointer(*at), "is a masked value, as a GET shows it, not a secret")])
        if not text.isprintable():
            # Here, for the model sees but the digest.
            raise RefusedError([Problem(pointer(*at), NOT_A_LINE)])
        # The place is part of the digest: equal passwords of two guests don't look equal.
        message = pointer(*at).encode(errors="surrogatepass") + b"\0" + text.encode()
        sealed = PREFIX + hmac.new(self._key, message, hashlib.sha256).hexdigest()
        found[sealed] = text
        return sealed
