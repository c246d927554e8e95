"""One request on its way through: who asks, for which bucket, and whether they may."""

from dataclasses import dataclass, replace

from secstorage.s3.api import policy
from secstorage.s3.api.incoming import Incoming
from secstorage.s3.configuration import RANKS, Configuration
from secstorage.s3.error import S3Error
from secstorage.s3.http.request import Request
from secstorage.s3.http.signature import Signer
from secstorage.s3.store.bucket import Bucket, Store
from secstorage.s3.store.names import KEY_BYTES

DOCUMENT_BYTES = 4 * 1024**2
OWNER = "sysvm"
"""All buckets belong to one tenant: access keys are rights, not accounts."""
_READS = frozenset(
    [
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectTagging",
        "s3:GetObjectVersionTagging",
        "s3:GetObjectAcl",
        "s3:GetObjectVersionAcl",
        "s3:GetObjectAttributes",
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:ListAllMyBuckets",
        "s3:GetBucketLocation",
        "s3:GetBucketVersioning",
        "s3:ListBucketMultipartUploads",
        "s3:ListMultipartUploadParts",
        "s3:GetBucketAcl",
        "s3:GetBucketCORS",
        "s3:GetLifecycleConfiguration",
        "s3:GetBucketTagging",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketPolicy",
    ]
)
_WRITES = frozenset(
    [
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:PutObjectTagging",
        "s3:PutObjectVersionTagging",
        "s3:DeleteObjectTagging",
        "s3:DeleteObjectVersionTagging",
        "s3:PutObjectAcl",
        "s3:PutObjectVersionAcl",
        "s3:AbortMultipartUpload",
    ]
)
# What canned ACLs give to everybody: on a bucket, and on an object.
_BUCKET_ACLS: dict[str, frozenset[str]] = {
    "public-read": frozenset({"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"}),
    "public-read-write": frozenset(
        {
            "s3:ListBucket",
            "s3:ListBucketVersions",
            "s3:ListBucketMultipartUploads",
            "s3:PutObject",
            "s3:DeleteObject",
        }
    ),
}
_OBJECT_ACTIONS = frozenset({"s3:GetObject", "s3:GetObjectVersion"})


@dataclass(slots=True)
class Call:
    request: Request
    configuration: Configuration
    store: Store
    signer: Signer | None
    incoming: Incoming
    _bucket: Bucket | None = None

    @property
    def key(self) -> str:
        return self.request.key

    @property
    def query(self) -> "dict[str, str]":
        return dict(self.request.query)

    @property
    def bucket(self) -> Bucket:
        """Raises S3Error if there is none."""
        if self._bucket is None:
            self._bucket = self.store.bucket(self.request.bucket)
        return self._bucket

    @property
    def version(self) -> str | None:
        """The one that is asked for; None for the current one."""
        version = self.request.query.get("versionId")
        if version == "":
            raise S3Error("InvalidArgument", "Version id cannot be the empty string")
        return version

    def versioned(self, action: str) -> str:
        """The action's name when it is about a version: s3:GetObject and s3:GetObjectVersion are two."""
        if "versionId" not in self.request.query:
            return action
        for noun in ("Tagging", "Acl"):
            if action.endswith(noun):
                return f"{action.removesuffix(noun)}Version{noun}"
        return action + "Version"

    def require(self, action: str, *, acl: str = "") -> None:
        """Raises S3Error unless it is allowed. `acl`: of the object that it is about."""
        if not self.allowed(action, acl=acl):
            raise S3Error("AccessDenied")

    def allowed(
        self, action: str, *, acl: str = "", bucket: Bucket | None = None, key: str | None = None
    ) -> bool:
        """The key's rights, the bucket's policy and the canned ACLs each may allow; a policy may deny."""
        name = self.request.bucket if bucket is None else bucket.name
        access_key = self.signer.access_key if self.signer else ""
        right = False
        if access_key:
            rank = self.configuration.credentials[access_key].rank(name)
            right = rank >= RANKS["read" if action in _READS else "write" if action in _WRITES else "full"]
        if not name or action == "s3:CreateBucket":
            return right
        settings = (bucket or self.bucket).settings
        if settings.policy:
            key = self.key if key is None else key
            says = policy.says(
                settings.policy,
                policy.Asked(
                    access_key=access_key,
                    action=action,
                    resource=f"{name}/{key}" if key else name,
                    address=self.request.address,
                    secure=self.request.secure,
                    query=self.request.query,
                ),
            )
            if says is not None:
                return says or self._is_repair(action, right)
        if right or action in _BUCKET_ACLS.get(settings.acl, ()):
            return True
        if settings.acl == "authenticated-read" and access_key and action in _BUCKET_ACLS["public-read"]:
            return True
        if action in _OBJECT_ACTIONS:
            return acl.startswith("public-read") or (acl == "authenticated-read" and bool(access_key))
        return False

    @staticmethod
    def _is_repair(action: str, right: bool) -> bool:
        # A policy that denies all can be taken back by whoever has every right; else nobody could.
        return right and action in ("s3:PutBucketPolicy", "s3:GetBucketPolicy", "s3:DeleteBucketPolicy")

    def document(self, *, of_body: bool = True) -> bytes:
        """The body of a request that is a document."""
        return self.incoming.read(DOCUMENT_BYTES, of_body=of_body)

    def about(self, key: str) -> "Call":
        """The same call about another key."""
        other = replace(self.request, key=key)
        return replace(self, request=other)


def check_key(key: str) -> None:
    """Raises S3Error for a key that no object can have."""
    if not key:
        raise S3Error("InvalidArgument", "The key is empty.")
    size = len(key.encode())
    if size > KEY_BYTES:
        elements = {"Size": str(size), "MaxSizeAllowed": str(KEY_BYTES)}
        raise S3Error("KeyTooLongError", elements=elements)
