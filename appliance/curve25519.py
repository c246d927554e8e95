"""The public key of a WireGuard private key: X25519 (RFC 7748, section 5) of the base point.

Once or twice in a document's life, so a millisecond of Python does; an appliance needs no library of ciphers
for it. Who could measure how long it takes has the key already: it came in his document.
"""

import base64
from functools import lru_cache

_PRIME = 2**255 - 19
_A24 = 121665
_BASE_POINT = 9


@lru_cache(maxsize=64)
def public_key(private_key: str) -> str:
    """Both are 32 bytes as base64. Raises ValueError for text that isn't."""
    scalar = base64.b64decode(private_key, validate=True)
    if len(scalar) != 32:
        raise ValueError("A private key has 32 bytes")
    return base64.b64encode(multiplied(scalar, _BASE_POINT)).decode()


def clamped(private_key: str) -> str:
    """The key as WireGuard keeps it and tells it: of 256 bits five have no meaning (RFC 7748, section 5)."""
    key = bytearray(base64.b64decode(private_key, validate=True))
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return base64.b64encode(key).decode()


def multiplied(scalar: bytes, point: int) -> bytes:
    """The Montgomery ladder of RFC 7748 on the u-coordinate of a point."""
    k = int.from_bytes(scalar, "little") & ~7 & (1 << 254) - 1 | 1 << 254
    x2, z2, x3, z3, swapped = 1, 0, point, 1, 0
    for place in range(254, -1, -1):
        bit = k >> place & 1
        if swapped ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % _PRIME, b * b % _PRIME, d * a % _PRIME, c * b % _PRIME
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _PRIME, point * (da - cb) ** 2 % _PRIME
        x2, z2 = aa * bb % _PRIME, e * (aa + _A24 * e) % _PRIME
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME).to_bytes(32, "little")
