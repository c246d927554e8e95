"""Checksums: the standard check values, and those of parts put together."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secstorage.s3 import checksum


def of(algorithm: str, content: bytes) -> bytes:
    digest = checksum.new(algorithm)
    digest.update(content)
    return digest.digest()


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [("CRC32", 0xCBF43926), ("CRC32C", 0xE3069283), ("CRC64NVME", 0xAE8B14860A799888)],
)
def test_check_values(algorithm: str, value: int) -> None:
    assert int.from_bytes(of(algorithm, b"123456789"), "big") == value


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    st.sampled_from(["CRC32", "CRC32C", "CRC64NVME"]),
)
def test_parts_make_the_checksum_of_the_whole(parts: list[bytes], algorithm: str) -> None:
    joined = checksum.joined(algorithm, [(of(algorithm, part), len(part)) for part in parts])
    assert joined == checksum.text(of(algorithm, b"".join(parts)))


def test_a_composite_is_of_digests() -> None:
    parts = [zlib.crc32(part).to_bytes(4, "big") for part in (b"a", b"b")]
    assert (
        checksum.composite("CRC32", parts)
        == checksum.text(zlib.crc32(b"".join(parts)).to_bytes(4, "big")) + "-2"
    )
