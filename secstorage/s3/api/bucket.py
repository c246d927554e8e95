"""Buckets: made, listed, deleted, and what is set for them."""

import json
from collections.abc import Callable
from dataclasses import replace

from secstorage.s3.api import cors, fields, lifecycle, markup, object, policy
from secstorage.s3.api.acl import canned, grants
from secstorage.s3.api.call import OWNER, Call, check_key
from secstorage.s3.api.refusal import of_exception
from secstorage.s3.error import S3Error
from secstorage.s3.http.response import Response
from secstorage.s3.store.settings import Settings

_XML = {"Content-Type": "application/xml"}
_DELETE_MOST = 1000


def answer(tag: str, parts: list[str]) -> Response:
    return Response(200, dict(_XML), markup.document(tag, parts))


def list_all(call: Call) -> Response:
    """ListBuckets: those that the key may read."""
    if call.signer is None:
        raise S3Error("AccessDenied")
    found = [
        bucket for bucket in call.store.buckets() if call.allowed("s3:ListBucket", bucket=bucket, key="")
    ]
    buckets = [
        markup.group(
            "Bucket",
            [
                markup.element("Name", bucket.name),
                markup.element("CreationDate", markup.timestamp(bucket.settings.created)),
            ],
        )
        for bucket in found
    ]
    return answer("ListAllMyBucketsResult", [markup.owner(OWNER), markup.group("Buckets", buckets)])


def create(call: Call) -> Response:
    call.require("s3:CreateBucket")
    content = call.document()
    region = call.configuration.region
    if content.strip():
        asked = markup.parse(content, "CreateBucketConfiguration").text("LocationConstraint", "")
        if asked not in ("", region):
            raise S3Error("InvalidArgument", f"The location constraint must be {region}.")
    if call.request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        raise S3Error("NotImplemented", "Object lock is not implemented")
    acl = fields.acl(call.request, "private")
    limit = call.configuration.limits.buckets
    if sum(1 for _ in call.store.buckets()) >= limit:
        raise S3Error("TooManyBuckets")
    owner = call.signer.access_key if call.signer else ""
    call.store.create(call.request.bucket, owner=owner, acl=acl, region=region)
    return Response(200, {"Location": f"/{call.request.bucket}"})


def delete(call: Call) -> Response:
    call.require("s3:DeleteBucket")
    call.store.delete(call.bucket)
    return Response(204)


def head(call: Call) -> Response:
    call.require("s3:ListBucket")
    return Response(200, {"x-amz-bucket-region": call.configuration.region} | _XML)


def location(call: Call) -> Response:
    call.require("s3:GetBucketLocation")
    region = call.configuration.region
    text = "" if region == "us-east-1" else markup.escape(region)
    content = (
        f'{markup.DECLARATION}<LocationConstraint xmlns="{markup.NAMESPACE}">{text}</LocationConstraint>'
    )
    return Response(200, dict(_XML), content.encode())


def get_versioning(call: Call) -> Response:
    call.require("s3:GetBucketVersioning")
    status = call.bucket.settings.versioning
    return answer("VersioningConfiguration", [markup.element("Status", status)] if status else [])


def put_versioning(call: Call) -> Response:
    call.require("s3:PutBucketVersioning")
    root = markup.parse(call.document(), "VersioningConfiguration")
    status = root.text("Status", "")
    if status not in ("Enabled", "Suspended") or root.text("MfaDelete", "Disabled") != "Disabled":
        raise S3Error("IllegalVersioningConfigurationException")
    call.bucket.change(lambda settings: replace(settings, versioning=status))
    return Response(200)


def get_acl(call: Call) -> Response:
    call.require("s3:GetBucketAcl")
    return answer("AccessControlPolicy", grants(call.bucket.settings.acl))


def put_acl(call: Call) -> Response:
    call.require("s3:PutBucketAcl")
    value = fields.acl(call.request)
    content = call.document()
    if not value:
        value = canned(content)
    call.bucket.change(lambda settings: replace(settings, acl=value))
    return Response(200)


def get_policy(call: Call) -> Response:
    call.require("s3:GetBucketPolicy")
    text = call.bucket.settings.policy
    if not text:
        raise S3Error("NoSuchBucketPolicy", elements={"BucketName": call.bucket.name})
    return Response(200, {"Content-Type": "application/json"}, text.encode())


def put_policy(call: Call) -> Response:
    call.require("s3:PutBucketPolicy")
    content = call.incoming.read(20 * 1024)
    try:
        text = json.dumps(json.loads(content), separators=(",", ":"))
    except (ValueError, RecursionError):
        raise S3Error("MalformedPolicy") from None
    policy.check(text, call.bucket.name)
    call.bucket.change(lambda settings: replace(settings, policy=text))
    return Response(204)


def policy_status(call: Call) -> Response:
    call.require("s3:GetBucketPolicyStatus")
    text = call.bucket.settings.policy
    if not text:
        raise S3Error("NoSuchBucketPolicy", elements={"BucketName": call.bucket.name})
    return answer("PolicyStatus", [markup.element("IsPublic", str(policy.is_public(text)).lower())])


def get_cors(call: Call) -> Response:
    call.require("s3:GetBucketCORS")
    rules = call.bucket.settings.cors
    if not rules:
        raise S3Error("NoSuchCORSConfiguration", elements={"BucketName": call.bucket.name})
    return Response(200, dict(_XML), cors.written(rules))


def put_cors(call: Call) -> Response:
    call.require("s3:PutBucketCORS")
    rules = cors.read(call.document())
    call.bucket.change(lambda settings: replace(settings, cors=rules))
    return Response(200)


def get_lifecycle(call: Call) -> Response:
    call.require("s3:GetLifecycleConfiguration")
    rules = call.bucket.settings.lifecycle
    if not rules:
        raise S3Error("NoSuchLifecycleConfiguration", elements={"BucketName": call.bucket.name})
    return Response(200, dict(_XML), lifecycle.written(rules))


def put_lifecycle(call: Call) -> Response:
    call.require("s3:PutLifecycleConfiguration")
    rules = lifecycle.read(call.document())
    call.bucket.change(lambda settings: replace(settings, lifecycle=rules))
    return Response(200)


def removal(action: str, change: Callable[[Settings], Settings]) -> Callable[[Call], Response]:
    """An operation that takes a setting back."""

    def remove(call: Call) -> Response:
        call.require(action)
        call.bucket.change(change)
        return Response(204)

    return remove


def absent(action: str, code: str) -> Callable[[Call], Response]:
    """Of something there can't be any of here: S3's own answer for none."""

    def answer_absent(call: Call) -> Response:
        call.require(action)
        raise S3Error(code, elements={"BucketName": call.bucket.name})

    return answer_absent


def delete_objects(call: Call) -> Response:
    """DeleteObjects: each for itself; what can't be deleted is told, the rest is."""
    bucket = call.bucket
    root = markup.parse(call.document(), "Delete")
    nodes = root.all("Object")
    if not 0 < len(nodes) <= _DELETE_MOST:
        raise S3Error("MalformedXML")
    quiet = root.text("Quiet", "false") == "true"
    parts = []
    for node in nodes:
        key, version = node.text("Key"), node.text("VersionId", "") or None
        told = [markup.element("Key", key)]
        if version:
            told.append(markup.element("VersionId", version))
        try:
            check_key(key)
            action = "s3:DeleteObjectVersion" if version else "s3:DeleteObject"
            if not call.allowed(action, key=key):
                raise S3Error("AccessDenied")
            deleted = object.delete_one(bucket, key, version)
        except (S3Error, OSError) as error:
            why = of_exception(error)
            told += [markup.element("Code", why.code), markup.element("Message", why.message)]
            parts.append(markup.group("Error", told))
            continue
        if deleted.marker:
            told.append(markup.element("DeleteMarker", "true"))
            told.append(markup.element("DeleteMarkerVersionId", deleted.version))
        if not quiet:
            parts.append(markup.group("Deleted", told))
    return answer("DeleteResult", parts)
