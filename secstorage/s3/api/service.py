"""Which operation a request is, and its answer."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from secstorage.s3.api import acl, attributes, bucket, cors, listing, object, tagging, upload
from secstorage.s3.api.call import Call
from secstorage.s3.api.incoming import Incoming
from secstorage.s3.api.refusal import of_exception, refuse
from secstorage.s3.configuration import Configuration
from secstorage.s3.error import S3Error
from secstorage.s3.http.body import Chunked, Plain
from secstorage.s3.http.connection import Connection
from secstorage.s3.http.request import Request, place
from secstorage.s3.http.response import Response
from secstorage.s3.http.signature import signer
from secstorage.s3.store.bucket import Options, Store

Operation = Callable[[Call], Response]
HEALTH = "/-/health"
"""No bucket has this name."""

# By method, and by what the query names beside the object or bucket itself.
_OBJECT: Mapping[tuple[str, str], Operation] = {
    ("GET", ""): object.get,
    ("HEAD", ""): object.get,
    ("PUT", ""): object.put,
    ("DELETE", ""): object.delete,
    ("GET", "acl"): acl.get,
    ("PUT", "acl"): acl.put,
    ("GET", "attributes"): attributes.get,
    ("GET", "tagging"): tagging.get,
    ("PUT", "tagging"): tagging.put,
    ("DELETE", "tagging"): tagging.delete,
    ("POST", "uploads"): upload.create,
    ("PUT", "uploadId"): upload.put_part,
    ("GET", "uploadId"): upload.list_parts,
    ("POST", "uploadId"): upload.complete,
    ("DELETE", "uploadId"): upload.abort,
}
_BUCKET: Mapping[tuple[str, str], Operation] = {
    ("GET", ""): listing.objects_1,
    ("HEAD", ""): bucket.head,
    ("PUT", ""): bucket.create,
    ("DELETE", ""): bucket.delete,
    ("GET", "list-type"): listing.objects_2,
    ("GET", "versions"): listing.object_versions,
    ("GET", "uploads"): listing.multipart_uploads,
    ("POST", "delete"): bucket.delete_objects,
    ("GET", "location"): bucket.location,
    ("GET", "versioning"): bucket.get_versioning,
    ("PUT", "versioning"): bucket.put_versioning,
    ("GET", "acl"): bucket.get_acl,
    ("PUT", "acl"): bucket.put_acl,
    ("GET", "policy"): bucket.get_policy,
    ("PUT", "policy"): bucket.put_policy,
    ("DELETE", "policy"): bucket.removal(
        "s3:DeleteBucketPolicy", lambda settings: replace(settings, policy="")
    ),
    ("GET", "policyStatus"): bucket.policy_status,
    ("GET", "cors"): bucket.get_cors,
    ("PUT", "cors"): bucket.put_cors,
    ("DELETE", "cors"): bucket.removal("s3:PutBucketCORS", lambda settings: replace(settings, cors=())),
    ("GET", "lifecycle"): bucket.get_lifecycle,
    ("PUT", "lifecycle"): bucket.put_lifecycle,
    ("DELETE", "lifecycle"): bucket.removal(
        "s3:PutLifecycleConfiguration", lambda settings: replace(settings, lifecycle=())
    ),
    ("GET", "tagging"): tagging.get_of_bucket,
    ("PUT", "tagging"): tagging.put_of_bucket,
    ("DELETE", "tagging"): bucket.removal(
        "s3:PutBucketTagging", lambda settings: replace(settings, tags={})
    ),
    ("GET", "object-lock"): bucket.absent(
        "s3:GetBucketObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"
    ),
    ("GET", "encryption"): bucket.absent(
        "s3:GetEncryptionConfiguration", "ServerSideEncryptionConfigurationNotFoundError"
    ),
    ("GET", "ownershipControls"): bucket.absent(
        "s3:GetBucketOwnershipControls", "OwnershipControlsNotFoundError"
    ),
}
# What S3 has and we haven't: never to be mistaken for the object or bucket itself.
_ABSENT = frozenset(
    [
        "accelerate",
        "analytics",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "logging",
        "metadataTable",
        "metrics",
        "notification",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "torrent",
        "website",
    ]
)
_SUBRESOURCES = (
    frozenset(name for _, name in (*_OBJECT, *_BUCKET)) | _ABSENT | {"append", "renameObject"}
) - {""}


class Service:
    """All that one configuration means; nothing in it is changed by a request."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        options = Options(attributes=configuration.attributes, sync=configuration.sync)
        self.store = Store(str(configuration.root), options)
        self._secrets = {
            key: each.secret.get_secret_value() for key, each in configuration.credentials.items()
        }

    def answer(self, request: Request, connection: Connection) -> Response:
        raw = connection.body(request)
        try:
            response = self._answer(request, raw)
        except Exception as error:
            response = refuse(of_exception(error), request)
        if response.status < 300 and raw.ended:
            connection.go_ahead()
        if not response.close:
            response.close = not connection.discard(raw)
        if "origin" in request.headers and request.method != "OPTIONS":
            response.headers |= self._cors(request)
        return response

    def _answer(self, request: Request, raw: Plain | Chunked) -> Response:
        if request.path == HEALTH and request.method in ("GET", "HEAD"):
            os.listdir(self.store.root)
            return Response(200, {"Content-Type": "text/plain"}, b"ok\n")
        place(request, self.configuration.domains)
        if request.method == "OPTIONS":
            who = None
        else:
            who = signer(request, self._secrets, region=self.configuration.region, now=time.time())
        incoming = Incoming(request, raw, who)
        call = Call(request, self.configuration, self.store, who, incoming)
        return _operation(request)(call)

    def _cors(self, request: Request) -> dict[str, str]:
        try:
            return cors.headers(request, self.store.bucket(request.bucket).settings.cors)
        except (S3Error, OSError):
            return {}


def _operation(request: Request) -> Operation:
    """Raises S3Error for what there isn't."""
    if request.method == "OPTIONS":
        return cors.preflight
    if not request.bucket:
        if request.method != "GET":
            raise S3Error("MethodNotAllowed")
        return bucket.list_all
    named = ""
    if request.query:
        found = [name for name in request.query if name in _SUBRESOURCES]
        if len(found) > 1:
            raise S3Error(
                "InvalidArgument", "Conflicting query string parameters: " + ", ".join(sorted(found))
            )
        named = found[0] if found else ""
    table = _OBJECT if request.key else _BUCKET
    operation = table.get((request.method, named))
    if operation is None:
        if named and (
            named in _ABSENT or (request.method == "GET" and (request.method, named) not in table)
        ):
            raise S3Error("NotImplemented", elements={"ResourceType": named})
        raise S3Error("MethodNotAllowed", elements={"Method": request.method})
    return operation
