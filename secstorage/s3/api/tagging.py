"""Tags of objects and buckets."""

import os
from collections.abc import Mapping
from dataclasses import replace

from secstorage.s3.api import fields, markup
from secstorage.s3.api.call import Call, check_key
from secstorage.s3.api.object import opened_for_reading, version_header
from secstorage.s3.error import S3Error
from secstorage.s3.http.response import Response
from secstorage.s3.store import objects

_BUCKET_MOST = 50


def _read(content: bytes, *, most: int) -> dict[str, str]:
    tag_set = markup.parse(content, "Tagging").child("TagSet")
    if tag_set is None:
        raise S3Error("MalformedXML")
    return fields.checked_tags(
        [(tag.text("Key"), tag.text("Value")) for tag in tag_set.all("Tag")], most=most
    )


def _written(tags: Mapping[str, str]) -> bytes:
    parts = [
        markup.group("Tag", [markup.element("Key", name), markup.element("Value", value)])
        for name, value in tags.items()
    ]
    return markup.document("Tagging", [markup.group("TagSet", parts)])


def get(call: Call) -> Response:
    file, found = opened_for_reading(call, "s3:GetObjectTagging")
    os.close(file)
    headers = {"Content-Type": "application/xml"} | version_header(call.bucket, found.record.version)
    return Response(200, headers, _written(found.record.tags))


def put(call: Call) -> Response:
    check_key(call.key)
    call.require(call.versioned("s3:PutObjectTagging"))
    return _change(call, _read(call.document(), most=10), 200)


def delete(call: Call) -> Response:
    check_key(call.key)
    call.require(call.versioned("s3:DeleteObjectTagging"))
    return _change(call, {}, 204)


def _change(call: Call, tags: Mapping[str, str], status: int) -> Response:
    made = objects.change(call.bucket, call.key, call.version, lambda record: replace(record, tags=tags))
    if made is None:
        raise S3Error("NoSuchVersion" if call.version else "NoSuchKey", elements={"Key": call.key})
    return Response(status, version_header(call.bucket, made.record.version))


def get_of_bucket(call: Call) -> Response:
    call.require("s3:GetBucketTagging")
    tags = call.bucket.settings.tags
    if not tags:
        raise S3Error("NoSuchTagSet", elements={"BucketName": call.bucket.name})
    return Response(200, {"Content-Type": "application/xml"}, _written(tags))


def put_of_bucket(call: Call) -> Response:
    call.require("s3:PutBucketTagging")
    tags = _read(call.document(), most=_BUCKET_MOST)
    call.bucket.change(lambda settings: replace(settings, tags=tags))
    return Response(204)
