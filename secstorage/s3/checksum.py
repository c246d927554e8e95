"""Checksums that S3 knows: CRCs that can be joined, and hashes (User Guide, "Checking object integrity")."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

from awscrt import checksums


class Digest(Protocol):
    def update(self, piece: bytes | bytearray | memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, function: Callable[..., int], size: int) -> None:
        self._function = function
        self._size = size
        self._value = 0

    def update(self, piece: bytes | bytearray | memoryview, /) -> None:
        self._value = self._function(piece, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def _sha1() -> Digest:
    return hashlib.sha1(usedforsecurity=False)


_NEW: dict[str, Callable[[], Digest]] = {
    "CRC32": lambda: _Crc(zlib.crc32, 4),
    "CRC32C": lambda: _Crc(checksums.crc32c, 4),
    "CRC64NVME": lambda: _Crc(checksums.crc64nvme, 8),
    "SHA1": _sha1,
    "SHA256": hashlib.sha256,
}
ALGORITHMS = tuple(_NEW)
_POLYNOMIALS = {
    # Reflected, as the CRCs are.
    "CRC32": (0xEDB88320, 32),
    "CRC32C": (0x82F63B78, 32),
    "CRC64NVME": (0x9A6C9329AC4BC9B5, 64),
}


def new(algorithm: str) -> Digest:
    return _NEW[algorithm]()


def header(algorithm: str) -> str:
    return f"x-amz-checksum-{algorithm.lower()}"


def of_header(name: str) -> str | None:
    """The algorithm of `x-amz-checksum-...`, if it is one of ours."""
    algorithm = name.removeprefix("x-amz-checksum-").upper()
    return algorithm if algorithm in _NEW and name.startswith("x-amz-checksum-") else None


def text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def of_text(value: str) -> bytes:
    return base64.b64decode(value)


def size(algorithm: str) -> int:
    """Of its digest, in bytes."""
    return len(new(algorithm).digest())


def can_join(algorithm: str) -> bool:
    """Whether the checksum of a whole follows from its parts'."""
    return algorithm in _POLYNOMIALS


def composite(algorithm: str, parts: Sequence[bytes]) -> str:
    """S3's checksum of checksums, `BASE64-COUNT`."""
    digest = new(algorithm)
    for part in parts:
        digest.update(part)
    return f"{text(digest.digest())}-{len(parts)}"


def joined(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> str:
    """The checksum of the whole from each part's and its size in bytes."""
    polynomial, bits = _POLYNOMIALS[algorithm]
    value = 0
    shifts: dict[int, list[int]] = {}
    for crc, length in parts:
        if length not in shifts:
            shifts[length] = _shift(polynomial, bits, length)
        value = _times(shifts[length], value) ^ int.from_bytes(crc, "big")
    return text(value.to_bytes(bits // 8, "big"))


# A CRC is linear over GF(2): to append `length` zero bytes to what was summed is a matrix, one for each
# length, made by squaring the matrix of one zero bit.


def _times(matrix: list[int], vector: int) -> int:
    result = 0
    row = 0
    while vector:
        if vector & 1:
            result ^= matrix[row]
        vector >>= 1
        row += 1
    return result


def _square(matrix: list[int]) -> list[int]:
    return [_times(matrix, row) for row in matrix]


def _shift(polynomial: int, bits: int, length: int) -> list[int]:
    power = [polynomial, *(1 << bit for bit in range(bits - 1))]
    for _ in range(3):
        power = _square(power)
    result = [1 << bit for bit in range(bits)]
    while length:
        if length & 1:
            result = [_times(power, row) for row in result]
        power = _square(power)
        length >>= 1
    return result
