"""Objects: read, put, copied, deleted."""

import os
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote, unquote_to_bytes

from secstorage.s3.api import conditions, fields, markup
from secstorage.s3.api.call import Call, check_key
from secstorage.s3.api.incoming import check_space
from secstorage.s3.error import S3Error
from secstorage.s3.http.response import FilePart, Response
from secstorage.s3.store import objects, receiving
from secstorage.s3.store.bucket import Bucket
from secstorage.s3.store.objects import Marker, Object
from secstorage.s3.store.record import Record

_CHECK_SPACE = 1024**2
_OVERRIDES = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}


def find(call: Call, bucket: Bucket, key: str, version: str | None) -> tuple[int, Object]:
    """The object, open. Raises S3Error."""
    if version is None:
        opened = objects.open_object(bucket, key)
        if opened is None:
            hidden = objects.newest_marker(bucket, key)
            headers = {"x-amz-delete-marker": "true", "x-amz-version-id": hidden.id} if hidden else {}
            raise S3Error("NoSuchKey", elements={"Key": key}, headers=headers)
        return opened
    found = objects.open_version(bucket, key, version)
    if found is None:
        raise S3Error("NoSuchVersion", elements={"Key": key, "VersionId": version})
    if isinstance(found, Marker):
        headers = {"x-amz-delete-marker": "true", "x-amz-version-id": found.id, "Allow": "DELETE"}
        raise S3Error("MethodNotAllowed", headers=headers)
    return found


def opened_for_reading(call: Call, action: str) -> tuple[int, Object]:
    """The object a call is about, open, if whoever calls may. Raises S3Error."""
    check_key(call.key)
    try:
        file, found = find(call, call.bucket, call.key, call.version)
    except S3Error as error:
        if error.code in ("NoSuchKey", "NoSuchVersion", "MethodNotAllowed") and not call.allowed(
            "s3:ListBucket", key=""
        ):
            # Whoever may not list can't find out what isn't there either.
            raise S3Error("AccessDenied") from None
        raise
    try:
        call.require(call.versioned(action), acl=found.record.acl)
    except BaseException:
        os.close(file)
        raise
    return file, found


def get(call: Call) -> Response:
    file, found = opened_for_reading(call, "s3:GetObject")
    try:
        return _read(call, file, found)
    except S3Error as error:
        os.close(file)
        if error.status == 304:
            error.headers |= {"ETag": f'"{found.record.etag}"'}
        raise
    except BaseException:
        os.close(file)
        raise


def _read(call: Call, file: int, found: Object) -> Response:
    request, query, record = call.request, call.request.query, found.record
    conditions.check_read(request, found)
    headers = fields.of_object(call, found)
    if query:
        for name, header in _OVERRIDES.items():
            if name in query:
                if call.signer is None:
                    raise S3Error(
                        "InvalidRequest", "Request specific response headers cannot be used anonymously."
                    )
                headers[header] = query[name]
    wanted = None
    if "partNumber" in query:
        wanted = _part(query["partNumber"], request.headers, found)
        if record.parts:
            headers["x-amz-mp-parts-count"] = str(record.part_count)
    elif conditions.holds_if_range(request, found):
        wanted = conditions.byte_range(request.headers.get("range"), found.size)
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and wanted is None:
        headers |= fields.checksums(record.checksums, record.checksum_type)
    if wanted is None:
        return Response(200, headers, FilePart(file, 0, found.size))
    offset, size = wanted
    headers["Content-Range"] = f"bytes {offset}-{offset + size - 1}/{found.size}"
    return Response(206, headers, FilePart(file, offset, size))


def _part(text: str, headers: Mapping[str, str], found: Object) -> tuple[int, int] | None:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000 or "range" in headers:
        raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    part = found.record.part(int(text)) if found.record.parts else None
    if part is None and (found.record.parts or text != "1"):
        raise S3Error("InvalidRange", headers={"Content-Range": f"bytes */{found.size}"})
    return part


def put(call: Call) -> Response:
    if "x-amz-copy-source" in call.request.headers:
        return copy(call)
    request, bucket = call.request, call.bucket
    check_key(call.key)
    call.require("s3:PutObject")
    acl = fields.acl(request)
    if acl.startswith(("public", "authenticated")):
        call.require("s3:PutObjectAcl")
    record = Record(
        etag="",
        headers=fields.stored(request),
        metadata=fields.metadata(request),
        tags=fields.tags(request),
        acl=acl,
    )
    condition = conditions.of_write(request)
    if condition is not None:
        # Once more when it counts; now, so that not all of it is sent for nothing.
        condition(objects.peek(bucket, call.key))
    limits = call.configuration.limits
    length = require_length(call)
    if length is None or length > _CHECK_SPACE:
        check_space(bucket.path, length or 0, limits.reserve_bytes)
    with objects.new(bucket) as (file, temporary):
        received = call.incoming.store(file, most=limits.object_bytes)
        record = replace(record, etag=received.md5, checksums=received.checksums)
        made = objects.put(bucket, call.key, file, temporary, record, condition=condition)
    headers = {"ETag": f'"{made.record.etag}"'} | fields.checksums(received.checksums, "FULL_OBJECT")
    return Response(200, headers | version_header(bucket, made.record.version))


def require_length(call: Call) -> int | None:
    """Bytes to come; None for a body in chunks of unknown length. Raises S3Error if nothing is said."""
    headers = call.request.headers
    if "content-length" not in headers and "transfer-encoding" not in headers:
        raise S3Error("MissingContentLength")
    return call.incoming.length


def version_header(bucket: Bucket, version: str | None) -> dict[str, str]:
    return {"x-amz-version-id": version} if bucket.settings.versioning and version else {}


def copy_source(call: Call) -> tuple[int, Object, Bucket]:
    """What is to be copied, open, if whoever calls may read it. Raises S3Error."""
    source, _, query = call.request.headers["x-amz-copy-source"].partition("?")
    try:
        text = unquote_to_bytes(source.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidArgument", "Copy Source must be URL-encoded UTF-8") from None
    name, _, key = text.removeprefix("/").partition("/")
    version = unquote(query.removeprefix("versionId=")) if query.startswith("versionId=") else None
    if not name or not key:
        raise S3Error(
            "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        )
    check_key(key)
    bucket = call.store.bucket(name)
    file, found = find(call, bucket, key, version)
    try:
        action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
        if not call.allowed(action, acl=found.record.acl, bucket=bucket, key=key):
            raise S3Error("AccessDenied")
        conditions.check_read(call.request, found, prefix="x-amz-copy-source-")
    except BaseException:
        os.close(file)
        raise
    return file, found, bucket


def copy(call: Call) -> Response:
    request, bucket = call.request, call.bucket
    check_key(call.key)
    call.require("s3:PutObject")
    file, found, source_bucket = copy_source(call)
    try:
        directive = request.headers.get("x-amz-metadata-directive", "COPY").upper()
        tagging = request.headers.get("x-amz-tagging-directive", "COPY").upper()
        if directive not in ("COPY", "REPLACE") or tagging not in ("COPY", "REPLACE"):
            raise S3Error("InvalidArgument", "Unknown metadata directive.")
        same = (source_bucket.name, found.path) == (bucket.name, _path_of(bucket, call.key))
        if (
            same
            and directive == "COPY"
            and tagging == "COPY"
            and "x-amz-storage-class" not in request.headers
        ):
            raise S3Error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself "
                "This copy request is illegal because it is trying to copy an object to itself without "
                "changing the object's metadata, storage class, website redirect location or encryption ",
            )
        fields.refuse_absent(request)
        record = replace(found.record, acl=fields.acl(request), parts=())
        if directive == "REPLACE":
            record = replace(record, headers=fields.stored(request), metadata=fields.metadata(request))
        if tagging == "REPLACE":
            record = replace(record, tags=fields.tags(request))
        check_space(bucket.path, found.size, call.configuration.limits.reserve_bytes)
        with objects.new(bucket) as (target, temporary):
            receiving.copy(file, target, offset=0, size=found.size)
            condition = conditions.of_write(request)
            made = objects.put(bucket, call.key, target, temporary, record, condition=condition)
    finally:
        os.close(file)
    parts = [markup.element("LastModified", markup.timestamp(made.modified)), _etag(made.record.etag)]
    parts += [markup.element(name, value) for name, value in fields.elements(record.checksums).items()]
    headers = {"Content-Type": "application/xml"} | version_header(bucket, made.record.version)
    if source_bucket.settings.versioning:
        headers["x-amz-copy-source-version-id"] = found.record.version
    return Response(200, headers, markup.document("CopyObjectResult", parts))


def _path_of(bucket: Bucket, key: str) -> bytes | None:
    found = objects.peek(bucket, key)
    return found.path if found else None


def _etag(etag: str) -> str:
    return markup.element("ETag", f'"{etag}"')


def delete(call: Call) -> Response:
    check_key(call.key)
    call.require(call.versioned("s3:DeleteObject"))
    condition = conditions.of_write(call.request)
    deleted = delete_one(call.bucket, call.key, call.version, condition)
    headers = version_header(call.bucket, deleted.version)
    if deleted.marker:
        headers["x-amz-delete-marker"] = "true"
    return Response(204, headers)


def delete_one(
    bucket: Bucket, key: str, version: str | None, condition: objects.Condition | None = None
) -> objects.Deleted:
    if version is None:
        return objects.delete(bucket, key, condition=condition)
    return objects.delete_version(bucket, key, version, condition=condition)
