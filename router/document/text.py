"""Text in a router's document, as several of its sections have it."""

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

Verdict = Literal["accept", "drop"]
OptionText = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._:/,@+=-]{1,255}$")]
LineText = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$", max_length=4096)]
"""One line, also for readers that end lines at U+0085, U+2028 and U+2029."""


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"must be base64 (RFC 4648): {error}") from None
    return text


Base64 = Annotated[str, Field(max_length=2_800_000), AfterValidator(_base64)]
"""Bytes as base64; 2 MiB at most once decoded."""
