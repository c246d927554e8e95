"""Who may have a session, how long, and whose is over."""

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator, Field

from appliance.model import Model


def _public_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise ValueError("must be the 32 bytes of an Ed25519 public key (RFC 8032) in base64")
    return text


PublicKey = Annotated[str, AfterValidator(_public_key)]
Word = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,256}$")]


class Limits(Model):
    sessions: Annotated[int, Field(ge=1, le=20_000)] = 2000
    """Most on this proxy: its capacity, which load reports tell."""
    sessions_per_user: Annotated[int, Field(ge=1, le=20_000)] = 50
    idle_seconds: Annotated[float, Field(ge=1, le=604_800)] = 1800
    """Without traffic either way. Requests for pictures that bring none don't count."""
    session_seconds: Annotated[float, Field(ge=1, le=604_800)] = 43_200
    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 60
    """How long a viewer whose connection was cut may come back without a new ticket."""


class Revoked(Model):
    """What is ended at once, and doesn't come back."""

    tickets: list[Word] = []
    """By their nonce (`jti`); the session that was made of it ends, too."""
    sessions: list[Word] = []
    users: list[Word] = []
