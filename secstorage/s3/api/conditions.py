"""Conditional requests and ranges (RFC 9110, 13 and 14)."""

import re
from email.utils import parsedate_to_datetime

from secstorage.s3.error import S3Error
from secstorage.s3.http.request import Request
from secstorage.s3.store.objects import Condition, Object

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def _seconds(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return None


def _names(header: str, etag: str) -> bool:
    tags = [each.strip().removeprefix("W/").strip('"') for each in header.split(",")]
    return "*" in tags or etag in tags


def check_read(request: Request, found: Object, *, prefix: str = "") -> None:
    """Raises S3Error, with 304 or 412. `prefix`: of the headers, where they are about the source of a
    copy."""
    headers = request.headers
    etag, modified = found.record.etag, int(found.modified)
    failed = S3Error("PreconditionFailed")
    match = headers.get(f"{prefix}if-match")
    unmodified = headers.get(f"{prefix}if-unmodified-since")
    if match is not None:
        if not _names(match, etag):
            raise failed
    elif unmodified is not None:
        since = _seconds(unmodified)
        if since is not None and modified > since:
            raise failed
    none_match = headers.get(f"{prefix}if-none-match")
    since_header = headers.get(f"{prefix}if-modified-since")
    not_modified = failed if prefix else S3Error("NotModified")
    if none_match is not None:
        if _names(none_match, etag):
            raise not_modified
    elif since_header is not None:
        since = _seconds(since_header)
        if since is not None and modified <= since:
            raise not_modified


def of_write(request: Request) -> Condition | None:
    """What a PUT or DELETE asks to be so, or None."""
    match = request.headers.get("if-match")
    none_match = request.headers.get("if-none-match")
    if match is None and none_match is None:
        return None

    def check(found: Object | None) -> None:
        if match is not None:
            if found is None:
                raise S3Error("NoSuchKey")
            if not _names(match, found.record.etag):
                raise S3Error("PreconditionFailed", elements={"Condition": "If-Match"})
        if none_match is not None and found is not None and _names(none_match, found.record.etag):
            raise S3Error("PreconditionFailed", elements={"Condition": "If-None-Match"})

    return check


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Offset and size of what a Range header asks for; None for the whole. Raises S3Error if there is
    none."""
    if header is None:
        return None
    found = _RANGE.fullmatch(header.strip())
    # Several ranges, other units, nonsense: as if it weren't there (14.2).
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        count = min(int(last), size)
        offset = size - count
    else:
        offset = int(first)
        if last and int(last) < offset:
            return None
        count = min(int(last), size - 1) - offset + 1 if last else size - offset
    if count <= 0 or offset >= size:
        elements = {"RangeRequested": header, "ActualObjectSize": str(size)}
        raise S3Error("InvalidRange", elements=elements, headers={"Content-Range": f"bytes */{size}"})
    return offset, count


def holds_if_range(request: Request, found: Object) -> bool:
    """Whether a Range header counts (RFC 9110, 13.1.5)."""
    value = request.headers.get("if-range")
    if value is None:
        return True
    if value.startswith('"'):
        return value.strip('"') == found.record.etag
    return _seconds(value) == int(found.modified)
