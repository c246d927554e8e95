"""What comes with an object in headers, and goes back in them."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from secstorage.s3 import checksum
from secstorage.s3.api.call import Call
from secstorage.s3.error import S3Error
from secstorage.s3.http.request import Request
from secstorage.s3.http.response import http_date
from secstorage.s3.store.objects import Object

METADATA = "x-amz-meta-"
_METADATA_BYTES = 2048
_STORED = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
)
_NAMES = {name: "-".join(part.capitalize() for part in name.split("-")) for name in _STORED[:-1]}
CANNED_ACLS = frozenset(
    [
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
    ]
)
_TAG = re.compile(r"[\w\s+\-=.:/@]*")
_ABSENT = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-retain-until-date",
    "x-amz-write-offset-bytes",
)


def stored(request: Request) -> dict[str, str]:
    """The headers that are kept with an object."""
    refuse_absent(request)
    found = {name: request.headers[name] for name in _STORED if request.headers.get(name)}
    coding = found.pop("content-encoding", "")
    codings = [each.strip() for each in coding.split(",") if each.strip().lower() not in ("aws-chunked", "")]
    if codings:
        found["content-encoding"] = ",".join(codings)
    return found


def refuse_absent(request: Request) -> None:
    """Raises S3Error for what is asked of us and can't be promised."""
    for name in _ABSENT:
        if name in request.headers:
            raise S3Error(
                "NotImplemented", f"The header {name} is not implemented", elements={"Header": name}
            )


def metadata(request: Request) -> dict[str, str]:
    found = {
        name.removeprefix(METADATA): value
        for name, value in request.headers.items()
        if name.startswith(METADATA)
    }
    size = sum(len(name) + len(value) for name, value in found.items())
    if size > _METADATA_BYTES:
        elements = {"Size": str(size), "MaxSizeAllowed": str(_METADATA_BYTES)}
        raise S3Error("MetadataTooLarge", elements=elements)
    return found


def acl(request: Request, default: str = "") -> str:
    """The canned ACL a request names. Grants to single users are of accounts, which there are none of."""
    if any(name.startswith("x-amz-grant-") for name in request.headers):
        raise S3Error("NotImplemented", "Only canned ACLs are implemented")
    value = request.headers.get("x-amz-acl", default)
    if value and value not in CANNED_ACLS:
        raise S3Error("InvalidArgument", elements={"ArgumentName": "x-amz-acl", "ArgumentValue": value})
    return value


def tags(request: Request) -> dict[str, str]:
    header = request.headers.get("x-amz-tagging")
    if not header:
        return {}
    try:
        pairs = parse_qsl(header, keep_blank_values=True, strict_parsing=True, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise S3Error(
            "InvalidArgument", "The header 'x-amz-tagging' shall be encoded as URL parameters"
        ) from None
    return checked_tags(pairs)


def checked_tags(pairs: list[tuple[str, str]], *, most: int = 10) -> dict[str, str]:
    """Raises S3Error for tags that S3 doesn't take (User Guide, "Categorizing your objects using tags")."""
    if len(pairs) > most:
        raise S3Error("InvalidTag", f"Object tags cannot be greater than {most}")
    for name, value in pairs:
        if not 0 < len(name) <= 128 or len(value) > 256 or not _TAG.fullmatch(name + value):
            raise S3Error("InvalidTag", elements={"TagKey": name})
    found = dict(pairs)
    if len(found) != len(pairs):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
    return found


def of_object(call: Call, found: Object) -> dict[str, str]:
    """What is told of an object with its bytes, or instead of them."""
    record = found.record
    headers = {
        "ETag": f'"{record.etag}"',
        "Last-Modified": http_date(int(found.modified)),
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }
    for name, value in record.headers.items():
        headers[_NAMES.get(name, name)] = value
    for name, value in record.metadata.items():
        headers[METADATA + name] = value
    if call.bucket.settings.versioning:
        headers["x-amz-version-id"] = record.version
    if record.tags:
        headers["x-amz-tagging-count"] = str(len(record.tags))
    return headers


def checksums(values: Mapping[str, str], kind: str) -> dict[str, str]:
    """As headers."""
    found = {checksum.header(name): value for name, value in values.items()}
    if found:
        found["x-amz-checksum-type"] = kind
    return found


def elements(values: Mapping[str, str]) -> dict[str, str]:
    """Checksums by the names that XML has for them."""
    return {f"Checksum{name}": value for name, value in values.items()}
