"""Session tokens of EC2's IMDSv2, signed and not stored.

The key lives and dies with the process: after a restart, or on the other router of a pair, a token is
just not valid, and clients answer a 401 by fetching a new one.
"""

import base64
import binascii
import hmac
import os
import struct

LONGEST = 21600
"""Seconds; the limit of EC2."""

_EXPIRY = struct.Struct(">d")


class Tokens:
    def __init__(self) -> None:
        self._key = os.urandom(32)

    def issue(self, guest: str, *, seconds: int, now: float) -> str:
        """A token for one guest, which no other guest can use. `now` is monotonic time in seconds."""
        expiry = _EXPIRY.pack(now + seconds)
        return base64.urlsafe_b64encode(expiry + self._signature(expiry, guest)).decode()

    def expiry(self, token: str, guest: str) -> float | None:
        """The monotonic time until which this token of this guest is valid; None for any other text."""
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        expiry, signature = raw[: _EXPIRY.size], raw[_EXPIRY.size :]
        if not hmac.compare_digest(signature, self._signature(expiry, guest)):
            return None
        return float(_EXPIRY.unpack(expiry)[0])

    def _signature(self, expiry: bytes, guest: str) -> bytes:
        return hmac.digest(self._key, expiry + guest.encode(), "sha256")


def lifetime(text: str | None) -> int | None:
    """The seconds that a PUT asks for; None if it asks for none, or for what EC2 doesn't give."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if 1 <= int(text) <= LONGEST else None
