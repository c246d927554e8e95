"""Versions that aren't current: `.s3/versions/PATH%v/ID`, a directory for each object.

An ID begins with a number that falls with time, so that names in order are versions from the newest. `.null`
at its end is the version that S3 calls `null`; `.marker` is a delete marker, an empty file.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass

from secstorage.s3.store import names
from secstorage.s3.store.bucket import Bucket

_ID = 24
TOP = b".s3/versions"


@dataclass(frozen=True, slots=True)
class Version:
    id: str
    path: bytes
    """Relative to the bucket."""
    marker: bool


def new_id(now_ns: int | None = None) -> str:
    return f"{(1 << 63) - (now_ns or time.time_ns()):016x}{os.urandom(4).hex()}"


def directory(key: str) -> bytes:
    return b"%s/%s%s" % (TOP, names.path(key), names.VERSIONS)


def noncurrent(bucket: Bucket, key: str) -> list[Version]:
    """From the newest to the oldest, delete markers included."""
    return of_directory(bucket, directory(key))


def of_directory(bucket: Bucket, where: bytes) -> list[Version]:
    try:
        found = sorted(os.listdir(bucket.full(where)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    versions = []
    for name in found:
        text = name.decode(errors="replace")
        identity, *marks = text.split(".")
        if len(identity) == _ID and set(marks) <= {"null", "marker"}:
            path = b"%s/%s" % (where, name)
            versions.append(Version("null" if "null" in marks else identity, path, "marker" in marks))
    return versions


def keep(bucket: Bucket, key: str, current: bytes, *, version: str, mtime_ns: int) -> None:
    """Let the current version be a version that isn't, too; it is still current until something else is."""
    name = f"{new_id(mtime_ns)[:16]}00000000.null" if version == "null" else version
    where = directory(key)
    path = b"%s/%s" % (where, name.encode())
    bucket.make_directories(where)
    bucket.records.moved(names.plain(current), path)
    with suppress(FileExistsError):
        os.link(bucket.full(current), bucket.full(path))
    bucket.sync_directory(where)


def mark_deleted(bucket: Bucket, key: str, *, null: bool) -> str:
    """Write a delete marker; its version."""
    identity = new_id()
    where = directory(key)
    name = f"{identity}{'.null' if null else ''}.marker"
    bucket.make_directories(where)
    file = os.open(
        bucket.full(b"%s/%s" % (where, name.encode())), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644
    )
    try:
        if bucket.options.sync:
            os.fsync(file)
    finally:
        os.close(file)
    bucket.sync_directory(where)
    return "null" if null else identity


def remove_null(bucket: Bucket, key: str) -> None:
    for version in noncurrent(bucket, key):
        if version.id == "null":
            bucket.remove(version.path)


def promote(bucket: Bucket, key: str) -> bool:
    """Make the newest version current, unless it is a delete marker; whether there was one."""
    found = noncurrent(bucket, key)
    if not found or found[0].marker:
        return False
    newest = found[0]
    temporary = bucket.temporary()
    os.makedirs(os.path.dirname(bucket.full(temporary)), exist_ok=True)
    os.link(bucket.full(newest.path), bucket.full(temporary))
    bucket.records.moved(newest.path, names.path(key))
    bucket.place(temporary, key)
    bucket.remove(newest.path)
    return True
