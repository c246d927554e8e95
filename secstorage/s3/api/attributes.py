"""GetObjectAttributes: what is known of an object, without its bytes."""

import os

from secstorage.s3.api import fields, markup
from secstorage.s3.api.call import Call
from secstorage.s3.api.object import opened_for_reading, version_header
from secstorage.s3.error import S3Error
from secstorage.s3.http.response import Response, http_date

_KNOWN = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})


def get(call: Call) -> Response:
    header = call.request.headers.get("x-amz-object-attributes", "")
    asked = {each.strip() for each in header.split(",")} - {""}
    if not asked or asked - _KNOWN:
        raise S3Error("InvalidArgument", "Invalid attribute name specified.")
    file, found = opened_for_reading(call, "s3:GetObjectAttributes")
    os.close(file)
    record = found.record
    parts = []
    if "ETag" in asked:
        parts.append(markup.element("ETag", record.etag))
    if "Checksum" in asked and record.checksums:
        inside = [markup.element(name, value) for name, value in fields.elements(record.checksums).items()]
        parts.append(
            markup.group("Checksum", [*inside, markup.element("ChecksumType", record.checksum_type)])
        )
    if "ObjectParts" in asked and record.parts:
        parts.append(markup.group("ObjectParts", [markup.element("PartsCount", record.part_count)]))
    if "StorageClass" in asked:
        parts.append(markup.element("StorageClass", "STANDARD"))
    if "ObjectSize" in asked:
        parts.append(markup.element("ObjectSize", found.size))
    headers = {"Content-Type": "application/xml", "Last-Modified": http_date(int(found.modified))}
    headers |= version_header(call.bucket, record.version)
    return Response(200, headers, markup.document("GetObjectAttributesResponse", parts))
