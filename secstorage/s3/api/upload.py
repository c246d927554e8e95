"""Uploads in parts."""

import os
import re
import time
from collections.abc import Sequence

from secstorage.s3 import checksum
from secstorage.s3.api import conditions, fields, markup
from secstorage.s3.api.call import OWNER, Call, check_key
from secstorage.s3.api.incoming import check_space
from secstorage.s3.api.object import copy_source, require_length, version_header
from secstorage.s3.api.refusal import body_of
from secstorage.s3.error import S3Error
from secstorage.s3.http.response import Later, Response
from secstorage.s3.store import objects, receiving, uploads
from secstorage.s3.store.record import Record
from secstorage.s3.store.uploads import Part, Upload

_LONG_BYTES = 512 * 1024**2
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")
_XML = {"Content-Type": "application/xml"}


def create(call: Call) -> Response:
    """CreateMultipartUpload."""
    request = call.request
    check_key(call.key)
    call.require("s3:PutObject")
    algorithm = request.headers.get("x-amz-checksum-algorithm", "").upper()
    kind = request.headers.get("x-amz-checksum-type", "").upper()
    if algorithm and algorithm not in checksum.ALGORITHMS:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    if algorithm and not kind:
        kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    if kind not in ("", "COMPOSITE", "FULL_OBJECT") or (kind and not algorithm):
        raise S3Error(
            "InvalidRequest", "The x-amz-checksum-type header needs an algorithm that it can be of."
        )
    if (kind == "FULL_OBJECT" and not checksum.can_join(algorithm)) or (
        kind == "COMPOSITE" and algorithm == "CRC64NVME"
    ):
        raise S3Error(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.",
        )
    acl = fields.acl(request)
    if acl.startswith(("public", "authenticated")):
        call.require("s3:PutObjectAcl")
    upload = Upload(
        id=uploads.new_id(),
        key=call.key,
        initiated=time.time(),
        owner=call.signer.access_key if call.signer else "",
        headers=fields.stored(request),
        metadata=fields.metadata(request),
        tags=fields.tags(request),
        acl=acl,
        algorithm=algorithm,
        checksum_type=kind,
    )
    uploads.begin(call.bucket, upload)
    parts = [
        markup.element("Bucket", call.bucket.name),
        markup.element("Key", call.key),
        markup.element("UploadId", upload.id),
    ]
    headers = dict(_XML)
    if algorithm:
        headers |= {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    return Response(200, headers, markup.document("InitiateMultipartUploadResult", parts))


def _find(call: Call) -> Upload:
    return uploads.find(call.bucket, call.key, call.request.query["uploadId"])


def _number(call: Call) -> int:
    text = call.request.query.get("partNumber", "")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= uploads.MOST_PARTS:
        raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    return int(text)


def put_part(call: Call) -> Response:
    """UploadPart."""
    if "x-amz-copy-source" in call.request.headers:
        return copy_part(call)
    call.require("s3:PutObject")
    upload, number = _find(call), _number(call)
    limits = call.configuration.limits
    check_space(call.bucket.path, require_length(call) or 0, limits.reserve_bytes)
    with objects.new(call.bucket) as (file, temporary):
        received = call.incoming.store(file, algorithm=upload.algorithm, most=limits.object_bytes)
        record = Record(etag=received.md5, checksums=received.checksums)
        uploads.put_part(call.bucket, upload, number, file, temporary, record)
    headers = {"ETag": f'"{received.md5}"'} | fields.checksums(received.checksums, "")
    headers.pop("x-amz-checksum-type", None)
    return Response(200, headers)


def copy_part(call: Call) -> Response:
    """UploadPartCopy."""
    call.require("s3:PutObject")
    upload, number = _find(call), _number(call)
    file, found, _ = copy_source(call)
    try:
        offset, size = 0, found.size
        header = call.request.headers.get("x-amz-copy-source-range")
        if header is not None:
            match = _RANGE.fullmatch(header)
            if match is None or int(match[1]) > int(match[2]):
                raise S3Error(
                    "InvalidArgument",
                    "The x-amz-copy-source-range value must be of the form bytes=first-last",
                )
            offset, size = int(match[1]), int(match[2]) - int(match[1]) + 1
            if offset + size > found.size:
                raise S3Error(
                    "InvalidArgument",
                    f"Range specified is not valid for source object of size: {found.size}",
                )
        limits = call.configuration.limits
        if size > limits.object_bytes:
            raise S3Error("EntityTooLarge")
        check_space(call.bucket.path, size, limits.reserve_bytes)
        with objects.new(call.bucket) as (target, temporary):
            # Its MD5 is wanted, so it has to be read.
            source = receiving.FileBody(file, offset, size)
            digests = receiving.digests(upload.algorithm)
            receiving.receive(source, target, list(digests.values()))
            etag = digests.pop("MD5").digest().hex()
            checksums = {name: checksum.text(each.digest()) for name, each in digests.items()}
            record = Record(etag=etag, checksums=checksums)
            uploads.put_part(call.bucket, upload, number, target, temporary, record)
    finally:
        os.close(file)
    parts = [
        markup.element("LastModified", markup.timestamp(time.time())),
        markup.element("ETag", f'"{etag}"'),
    ]
    parts += [markup.element(name, value) for name, value in fields.elements(checksums).items()]
    return Response(200, dict(_XML), markup.document("CopyPartResult", parts))


def list_parts(call: Call) -> Response:
    """ListParts."""
    call.require("s3:ListMultipartUploadParts")
    upload = _find(call)
    query = call.request.query
    try:
        most = min(int(query.get("max-parts") or 1000), 1000)
        after = int(query.get("part-number-marker") or 0)
    except ValueError:
        raise S3Error("InvalidArgument") from None
    found = [part for part in uploads.parts(call.bucket, upload) if part.number > after]
    page = found[:most]
    parts = [
        markup.element("Bucket", call.bucket.name),
        markup.element("Key", call.key),
        markup.element("UploadId", upload.id),
        markup.owner(upload.owner or OWNER, "Initiator"),
        markup.owner(OWNER),
        markup.element("StorageClass", "STANDARD"),
        markup.element("PartNumberMarker", after),
        markup.element("NextPartNumberMarker", page[-1].number if page else after),
        markup.element("MaxParts", most),
        markup.element("IsTruncated", str(len(found) > len(page)).lower()),
    ]
    if upload.algorithm:
        parts.append(markup.element("ChecksumAlgorithm", upload.algorithm))
        parts.append(markup.element("ChecksumType", upload.checksum_type))
    for part in page:
        inside = [
            markup.element("PartNumber", part.number),
            markup.element("LastModified", markup.timestamp(part.modified)),
            markup.element("ETag", f'"{part.record.etag}"'),
            markup.element("Size", part.size),
        ]
        inside += [
            markup.element(name, value) for name, value in fields.elements(part.record.checksums).items()
        ]
        parts.append(markup.group("Part", inside))
    return Response(200, dict(_XML), markup.document("ListPartsResult", parts))


def abort(call: Call) -> Response:
    """AbortMultipartUpload."""
    call.require("s3:AbortMultipartUpload")
    uploads.abort(call.bucket, _find(call))
    return Response(204)


def complete(call: Call) -> Response:
    """CompleteMultipartUpload."""
    call.require("s3:PutObject")
    root = markup.parse(call.document(of_body=False), "CompleteMultipartUpload")
    upload = _find(call)
    wanted = []
    told: dict[int, dict[str, str]] = {}
    for node in root.all("Part"):
        number = node.text("PartNumber").strip()
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= uploads.MOST_PARTS:
            raise S3Error("MalformedXML")
        wanted.append((int(number), node.text("ETag").strip().strip('"')))
        told[int(number)] = {name: node.text(f"Checksum{name}", "") for name in checksum.ALGORITHMS}
    parts = uploads.chosen(call.bucket, upload, wanted)
    for part in parts:
        for name, value in told[part.number].items():
            if value and part.record.checksums.get(name, value) != value:
                raise S3Error(
                    "InvalidPart", elements={"PartNumber": str(part.number), "UploadId": upload.id}
                )
    size = sum(part.size for part in parts)
    expected = call.request.headers.get("x-amz-mp-object-size")
    if expected is not None and expected != str(size):
        raise S3Error(
            "InvalidRequest", "The provided 'x-amz-mp-object-size' header value does not match the size."
        )
    record = uploads.record_of(upload, parts, _checksums(call, upload, parts))
    check_space(call.bucket.path, size, call.configuration.limits.reserve_bytes)
    if size < _LONG_BYTES:
        headers, content = _made(call, upload, parts, record)
        return Response(200, headers, content)

    def make() -> bytes:
        try:
            _, content = _made(call, upload, parts, record)
        except Exception as error:
            content = body_of(error, call.request)
        return content.removeprefix(markup.DECLARATION.encode())

    return Response(200, dict(_XML), Later(markup.DECLARATION.encode(), make))


def _checksums(call: Call, upload: Upload, parts: Sequence[Part]) -> dict[str, str]:
    """Of the whole; raises S3Error if the client told another."""
    if not upload.algorithm:
        return {}
    name = upload.algorithm
    digests = [checksum.of_text(part.record.checksums.get(name, "")) for part in parts]
    if upload.checksum_type == "FULL_OBJECT":
        sizes = [part.size for part in parts]
        value = checksum.joined(name, list(zip(digests, sizes, strict=True)))
    else:
        value = checksum.composite(name, digests)
    told = call.request.headers.get(checksum.header(name))
    if told is not None and told not in (value, value.partition("-")[0]):
        raise S3Error("BadDigest", f"The {name} you specified did not match the calculated checksum.")
    return {name: value}


def _made(call: Call, upload: Upload, parts: Sequence[Part], record: Record) -> tuple[dict[str, str], bytes]:
    condition = conditions.of_write(call.request)
    made = uploads.complete(call.bucket, upload, parts, record, condition=condition)
    host = call.request.headers.get("host", "")
    scheme = "https" if call.request.secure else "http"
    content = [
        markup.element("Location", f"{scheme}://{host}{call.request.raw_path}"),
        markup.element("Bucket", call.bucket.name),
        markup.element("Key", call.key),
        markup.element("ETag", f'"{made.record.etag}"'),
        *(markup.element(name, value) for name, value in fields.elements(record.checksums).items()),
    ]
    if record.checksums:
        content.append(markup.element("ChecksumType", record.checksum_type))
    headers = _XML | version_header(call.bucket, made.record.version)
    return headers, markup.document("CompleteMultipartUploadResult", content)
