"""Ranges, as RFC 9110 has them."""

import pytest

from secstorage.s3.api.conditions import byte_range
from secstorage.s3.error import S3Error


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 8)),
        ("bytes=-3", (7, 3)),
        ("bytes=-30", (0, 10)),
        ("bytes=5-500", (5, 5)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range(header: str | None, found: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == found


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_that_is_nowhere(header: str, size: int) -> None:
    with pytest.raises(S3Error) as error:
        byte_range(header, size)
    assert error.value.code == "InvalidRange"
    assert error.value.headers["Content-Range"] == f"bytes */{size}"
