"""What is in a bucket: objects by either version of the API, versions, uploads."""

import base64
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from urllib.parse import quote

from secstorage.s3.api import markup
from secstorage.s3.api.call import OWNER, Call
from secstorage.s3.error import S3Error
from secstorage.s3.http.response import Response
from secstorage.s3.store import names, objects, uploads, versions
from secstorage.s3.store.bucket import Bucket
from secstorage.s3.store.objects import Object
from secstorage.s3.store.walk import Found, walk

_MOST = 1000


@dataclass(frozen=True, slots=True)
class _Asked:
    prefix: str
    delimiter: str
    most: int
    url: bool

    @classmethod
    def of(cls, call: Call, most: str = "max-keys") -> "_Asked":
        query = call.request.query
        coding = query.get("encoding-type", "")
        if coding not in ("", "url"):
            raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
        text = query.get(most) or str(_MOST)
        if not text.isascii() or not text.isdigit() or len(text) > 10:
            raise S3Error("InvalidArgument", f"Provided {most} not an integer or within integer range")
        return cls(
            query.get("prefix", ""), query.get("delimiter", ""), min(int(text), _MOST), coding == "url"
        )

    def text(self, key: str) -> str:
        return quote(key, safe="/-_.~*") if self.url else key

    def element(self, tag: str, key: str) -> str:
        return markup.element(tag, self.text(key))

    def common(self, key: str) -> str:
        """The prefix that a key is told by, if it isn't told by itself."""
        if not self.delimiter:
            return ""
        end = key.find(self.delimiter, len(self.prefix))
        return key[: end + len(self.delimiter)] if end >= 0 else ""


@dataclass(slots=True)
class _Page:
    found: list[tuple[Found, Object]]
    prefixes: list[str]
    truncated: bool = False
    last: str = ""


def _page(bucket: Bucket, asked: _Asked, after: str) -> _Page:
    page = _Page([], [])
    prefix = ""
    if not asked.most:
        return page
    for found in walk(bucket.path, prefix=asked.prefix, after=after, delimiter=asked.delimiter):
        common = found.key if found.path is None else asked.common(found.key)
        if common and (common == prefix or common <= after):
            continue
        known = None
        if not common:
            known = known_of(bucket, found)
            if known is None:
                continue
        if len(page.found) + len(page.prefixes) >= asked.most:
            page.truncated = True
            break
        if known is None:
            prefix = common
            page.prefixes.append(common)
        else:
            page.found.append((found, known))
        page.last = common or found.key
    return page


def known_of(bucket: Bucket, found: Found) -> Object | None:
    """What is known of a file that was found; None if it has gone meanwhile."""
    if found.path is None:
        return None
    full = bucket.full(found.path)
    with suppress(FileNotFoundError, NotADirectoryError):
        stats = os.lstat(full)
        if stat.S_ISREG(stats.st_mode):
            return Object(found.path, stats, bucket.records.read_path(full, stats, names.plain(found.path)))
    return None


def _contents(asked: _Asked, page: _Page, *, owner: bool) -> Iterator[str]:
    who = markup.owner(OWNER) if owner else ""
    for found, known in page.found:
        record = known.record
        algorithm = "".join(markup.element("ChecksumAlgorithm", each) for each in record.checksums)
        if algorithm:
            algorithm += markup.element("ChecksumType", record.checksum_type)
        yield (
            f"<Contents>{asked.element('Key', found.key)}"
            f"<LastModified>{markup.timestamp(known.modified)}</LastModified>"
            f"<ETag>&quot;{record.etag}&quot;</ETag>{algorithm}<Size>{known.size}</Size>"
            f"<StorageClass>STANDARD</StorageClass>{who}</Contents>"
        )
    for prefix in page.prefixes:
        yield markup.group("CommonPrefixes", [asked.element("Prefix", prefix)])


def _answer(tag: str, parts: list[str]) -> Response:
    return Response(200, {"Content-Type": "application/xml"}, markup.document(tag, parts))


def objects_1(call: Call) -> Response:
    """ListObjects."""
    call.require("s3:ListBucket")
    asked = _Asked.of(call)
    marker = call.request.query.get("marker", "")
    page = _page(call.bucket, asked, marker)
    parts = [
        markup.element("Name", call.bucket.name),
        asked.element("Prefix", asked.prefix),
        asked.element("Marker", marker),
        markup.element("MaxKeys", asked.most),
        *_shape(asked),
        markup.element("IsTruncated", str(page.truncated).lower()),
    ]
    if page.truncated:
        # Amazon tells it with a delimiter only; clients take it without, too.
        parts.append(asked.element("NextMarker", page.last))
    return _answer("ListBucketResult", [*parts, *_contents(asked, page, owner=True)])


def _shape(asked: _Asked) -> list[str]:
    parts = []
    if asked.delimiter:
        parts.append(asked.element("Delimiter", asked.delimiter))
    if asked.url:
        parts.append(markup.element("EncodingType", "url"))
    return parts


def objects_2(call: Call) -> Response:
    """ListObjectsV2."""
    call.require("s3:ListBucket")
    asked = _Asked.of(call)
    query = call.request.query
    token, start = query.get("continuation-token"), query.get("start-after", "")
    if token == "":
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect")
    page = _page(call.bucket, asked, _of_token(token) if token else start)
    parts = [
        markup.element("Name", call.bucket.name),
        asked.element("Prefix", asked.prefix),
        markup.element("KeyCount", len(page.found) + len(page.prefixes)),
        markup.element("MaxKeys", asked.most),
        *_shape(asked),
        markup.element("IsTruncated", str(page.truncated).lower()),
    ]
    if token:
        parts.append(markup.element("ContinuationToken", token))
    if start:
        parts.append(asked.element("StartAfter", start))
    if page.truncated:
        parts.append(markup.element("NextContinuationToken", _token(page.last)))
    owner = query.get("fetch-owner") == "true"
    return _answer("ListBucketResult", [*parts, *_contents(asked, page, owner=owner)])


def _token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _of_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from None


@dataclass(frozen=True, slots=True)
class _Version:
    key: str
    id: str
    latest: bool
    known: Object | None
    """None for a delete marker."""
    modified: float


def object_versions(call: Call) -> Response:
    """ListObjectVersions."""
    call.require("s3:ListBucketVersions")
    asked = _Asked.of(call)
    query = call.request.query
    marker, version_marker = query.get("key-marker", ""), query.get("version-id-marker", "")
    if version_marker and not marker:
        raise S3Error("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
    found: list[str] = []
    prefixes: list[str] = []
    last, truncated = ("", ""), False
    for each in _versions(call.bucket, asked, marker, version_marker) if asked.most else ():
        common = each if isinstance(each, str) else asked.common(each.key)
        if common and (common in prefixes[-1:] or common <= marker):
            continue
        if len(found) + len(prefixes) >= asked.most:
            truncated = True
            break
        if common:
            prefixes.append(common)
            last = common, ""
        elif isinstance(each, _Version):
            found.append(_version(asked, each))
            last = each.key, each.id
    parts = [
        markup.element("Name", call.bucket.name),
        asked.element("Prefix", asked.prefix),
        asked.element("KeyMarker", marker),
        markup.element("VersionIdMarker", version_marker),
        markup.element("MaxKeys", asked.most),
        *_shape(asked),
        markup.element("IsTruncated", str(truncated).lower()),
    ]
    if truncated:
        parts.append(asked.element("NextKeyMarker", last[0]))
        if last[1]:
            parts.append(markup.element("NextVersionIdMarker", last[1]))
    parts += found
    parts += [markup.group("CommonPrefixes", [asked.element("Prefix", prefix)]) for prefix in prefixes]
    return _answer("ListVersionsResult", parts)


def _version(asked: _Asked, each: _Version) -> str:
    parts = [
        asked.element("Key", each.key),
        markup.element("VersionId", each.id),
        markup.element("IsLatest", str(each.latest).lower()),
        markup.element("LastModified", markup.timestamp(each.modified)),
    ]
    if each.known is not None:
        parts += [
            markup.element("ETag", f'"{each.known.record.etag}"'),
            markup.element("Size", each.known.size),
            markup.element("StorageClass", "STANDARD"),
        ]
    return markup.group("DeleteMarker" if each.known is None else "Version", [*parts, markup.owner(OWNER)])


def _versions(bucket: Bucket, asked: _Asked, marker: str, version_marker: str) -> Iterator[_Version | str]:
    """All versions of all keys in order, the newest of each first; a prefix in common is text."""
    top = bucket.full(versions.TOP)
    # The marker's own key is still wanted when a version of it was the last one told.
    after = marker if not version_marker else _just_before(marker)
    current = walk(bucket.path, prefix=asked.prefix, after=after, delimiter=asked.delimiter)
    older = walk(top, prefix=asked.prefix, after=after, delimiter=asked.delimiter, versions=True)
    previous = None
    for found in merge(current, older, key=lambda each: each.key):
        if found.key == previous:
            continue
        previous = found.key
        if found.path is None:
            yield found.key
            continue
        skip = version_marker if found.key == marker else ""
        for version in versions_of(bucket, found.key):
            if skip:
                skip = "" if version.id == skip else skip
            else:
                yield version


def _just_before(key: str) -> str:
    """A text that is less than `key`, and than which nothing is between."""
    if key.endswith("\0"):
        return key[:-1]
    last = ord(key[-1]) - 1
    return key[:-1] + chr(last if not 0xD800 <= last <= 0xDFFF else 0xD7FF) + "\U0010ffff" * 256


def versions_of(bucket: Bucket, key: str) -> Iterator[_Version]:
    """From the newest."""
    current = objects.peek(bucket, key)
    latest = True
    seen = None
    if current is not None:
        seen = current.record.version
        yield _Version(key, seen, True, current, current.modified)
        latest = False
    for each in versions.noncurrent(bucket, key):
        if each.id == seen:
            continue  # A daemon ended between keeping it and replacing it.
        found = bucket.lstat(each.path)
        if found is None:
            continue
        known = None
        if not each.marker:
            known = Object(
                each.path, found, bucket.records.read_path(bucket.full(each.path), found, each.path)
            )
        yield _Version(key, each.id, latest, known, found.st_mtime)
        latest = False


def multipart_uploads(call: Call) -> Response:
    """ListMultipartUploads."""
    call.require("s3:ListBucketMultipartUploads")
    asked = _Asked.of(call, "max-uploads")
    query = call.request.query
    marker, upload_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    found: list[str] = []
    prefixes: list[str] = []
    last, truncated = ("", ""), False
    for upload in uploads.all_of(call.bucket):
        if not upload.key.startswith(asked.prefix) or upload.key < marker:
            continue
        if upload.key == marker and (not upload_marker or upload.id <= upload_marker):
            continue
        common = asked.common(upload.key)
        if common and (common in prefixes[-1:] or common <= marker):
            continue
        if len(found) + len(prefixes) >= asked.most:
            truncated = True
            break
        last = common or upload.key, "" if common else upload.id
        if common:
            prefixes.append(common)
            continue
        parts = [
            asked.element("Key", upload.key),
            markup.element("UploadId", upload.id),
            markup.owner(upload.owner or OWNER, "Initiator"),
            markup.owner(OWNER),
            markup.element("StorageClass", "STANDARD"),
            markup.element("Initiated", markup.timestamp(upload.initiated)),
        ]
        if upload.algorithm:
            parts.append(markup.element("ChecksumAlgorithm", upload.algorithm))
            parts.append(markup.element("ChecksumType", upload.checksum_type))
        found.append(markup.group("Upload", parts))
    head = [
        markup.element("Bucket", call.bucket.name),
        asked.element("KeyMarker", marker),
        markup.element("UploadIdMarker", upload_marker),
        asked.element("Prefix", asked.prefix),
        markup.element("MaxUploads", asked.most),
        *_shape(asked),
        markup.element("IsTruncated", str(truncated).lower()),
    ]
    if truncated:
        head += [asked.element("NextKeyMarker", last[0]), markup.element("NextUploadIdMarker", last[1])]
    common_parts = [markup.group("CommonPrefixes", [asked.element("Prefix", each)]) for each in prefixes]
    return _answer("ListMultipartUploadsResult", [*head, *found, *common_parts])
