"""Uploads in parts: `.s3/uploads/ID`, with `upload.json` and a file for each part."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import md5

from secstorage.s3.error import S3Error
from secstorage.s3.store import lock, objects, receiving
from secstorage.s3.store.bucket import Bucket
from secstorage.s3.store.record import Record, runs

_ID = re.compile(r"[0-9a-f]{48}")
LEAST_PART = 5 * 1024**2
MOST_PARTS = 10_000
TOP = b".s3/uploads"


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    id: str
    key: str
    initiated: float
    owner: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    acl: str = ""
    algorithm: str = ""
    checksum_type: str = ""

    @property
    def path(self) -> bytes:
        return b"%s/%s" % (TOP, self.id.encode())

    def part(self, number: int) -> bytes:
        return b"%s/%05d" % (self.path, number)


@dataclass(frozen=True, slots=True)
class Part:
    number: int
    size: int
    modified: float
    record: Record


_NAMES = frozenset(each.name for each in fields(Upload))


def _alone(bucket: Bucket, upload: Upload) -> AbstractContextManager[None]:
    # Not among the locks of objects: whoever has this one asks for one of those.
    return lock.held(bucket.path + b"/.s3/upload-locks", upload.id)


def begin(bucket: Bucket, upload: Upload) -> None:
    where = bucket.full(upload.path)
    bucket.check()
    os.makedirs(where)
    with open(where + b"/upload.partial", "xb") as file:
        file.write(json.dumps(asdict(upload), ensure_ascii=False).encode())
        file.flush()
        os.fsync(file.fileno())
    os.rename(where + b"/upload.partial", where + b"/upload.json")
    bucket.sync_directory(upload.path)
    bucket.sync_directory(TOP)


def new_id() -> str:
    """In order of time."""
    return f"{time.time_ns():016x}{os.urandom(16).hex()}"


def find(bucket: Bucket, key: str, identity: str) -> Upload:
    """Raises S3Error if there is no such upload of this key."""
    upload = _read(bucket, identity) if _ID.fullmatch(identity) else None
    if upload is None or upload.key != key:
        raise S3Error("NoSuchUpload", elements={"UploadId": identity})
    return upload


def _read(bucket: Bucket, identity: str) -> Upload | None:
    try:
        with open(bucket.full(b"%s/%s/upload.json" % (TOP, identity.encode())), "rb") as file:
            value = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Upload(**{name: each for name, each in value.items() if name in _NAMES})


def all_of(bucket: Bucket) -> list[Upload]:
    """By key, and by time."""
    try:
        listed = os.listdir(bucket.full(TOP))
    except FileNotFoundError:
        return []
    found = []
    for name in listed:
        identity = name.decode(errors="replace")
        upload = _read(bucket, identity) if _ID.fullmatch(identity) else None
        if upload is not None:
            found.append(upload)
    return sorted(found, key=lambda upload: (upload.key, upload.id))


def put_part(
    bucket: Bucket, upload: Upload, number: int, file: int, temporary: bytes, record: Record
) -> None:
    side = bucket.records.seal(file, record, sync=bucket.options.sync)
    if side is not None:
        with _alone(bucket, upload):
            find(bucket, upload.key, upload.id)
            bucket.records.write_side(upload.part(number), side)
    try:
        os.rename(bucket.full(temporary), bucket.full(upload.part(number)))
    except FileNotFoundError:
        # Completed or aborted while the part came in.
        raise S3Error("NoSuchUpload", elements={"UploadId": upload.id}) from None
    bucket.sync_directory(upload.path)


def parts(bucket: Bucket, upload: Upload) -> Iterator[Part]:
    """In order."""
    try:
        listed = sorted(os.listdir(bucket.full(upload.path)))
    except FileNotFoundError:
        return
    for name in listed:
        if name.isdigit():
            part = _part(bucket, upload, int(name))
            if part is not None:
                yield part


def _part(bucket: Bucket, upload: Upload, number: int) -> Part | None:
    path = upload.part(number)
    found = bucket.lstat(path)
    if found is None:
        return None
    record = bucket.records.read_path(bucket.full(path), found, path)
    return Part(number, found.st_size, found.st_mtime, record)


def chosen(bucket: Bucket, upload: Upload, wanted: Sequence[tuple[int, str]]) -> list[Part]:
    """The parts that make the object, by number and ETag. Raises S3Error."""
    if not wanted:
        raise S3Error("MalformedXML")
    found: list[Part] = []
    for number, etag in wanted:
        if found and number <= found[-1].number:
            raise S3Error("InvalidPartOrder")
        part = _part(bucket, upload, number)
        if part is None or part.record.etag != etag:
            elements = {"UploadId": upload.id, "PartNumber": str(number), "ETag": etag}
            raise S3Error("InvalidPart", elements=elements)
        found.append(part)
    for part in found[:-1]:
        if part.size < LEAST_PART:
            elements = {
                "ProposedSize": str(part.size),
                "MinSizeAllowed": str(LEAST_PART),
                "PartNumber": str(part.number),
                "ETag": part.record.etag,
            }
            raise S3Error("EntityTooSmall", elements=elements)
    return found


def etag(of: Sequence[Part]) -> str:
    digest = md5(b"".join(bytes.fromhex(part.record.etag) for part in of), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(of)}"


def complete(
    bucket: Bucket,
    upload: Upload,
    of: Sequence[Part],
    record: Record,
    *,
    condition: objects.Condition | None = None,
) -> objects.Object:
    """Make one object of parts. The parts stay until it is there."""
    with _alone(bucket, upload):
        find(bucket, upload.key, upload.id)
        with objects.new(bucket) as (file, temporary):
            for part in of:
                source = os.open(bucket.full(upload.part(part.number)), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    receiving.copy(source, file, offset=0, size=part.size)
                finally:
                    os.close(source)
            made = objects.put(bucket, upload.key, file, temporary, record, condition=condition)
        _remove(bucket, upload)
    return made


def record_of(upload: Upload, of: Sequence[Part], checksums: Mapping[str, str]) -> Record:
    return Record(
        etag=etag(of),
        headers=upload.headers,
        metadata=upload.metadata,
        tags=upload.tags,
        acl=upload.acl,
        checksums=checksums,
        checksum_type=upload.checksum_type or "COMPOSITE",
        parts=runs([part.size for part in of]),
    )


def abort(bucket: Bucket, upload: Upload) -> None:
    with _alone(bucket, upload):
        _remove(bucket, upload)


def _remove(bucket: Bucket, upload: Upload) -> None:
    where = bucket.full(upload.path)
    # First what makes it an upload: what is left after a crash is only to be swept up.
    with suppress(FileNotFoundError):
        os.unlink(where + b"/upload.json")
    shutil.rmtree(where, ignore_errors=True)
    shutil.rmtree(bucket.full(b".s3/records/" + upload.path), ignore_errors=True)
