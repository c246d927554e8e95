"""Objects: opened, put, deleted; with versions where a bucket has them."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from secstorage.s3.store import names, versions
from secstorage.s3.store.bucket import Bucket
from secstorage.s3.store.record import Record

_NOT_THERE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Object:
    path: bytes
    found: os.stat_result
    record: Record

    @property
    def size(self) -> int:
        return self.found.st_size

    @property
    def modified(self) -> float:
        """Seconds since 1970."""
        return self.found.st_mtime


@dataclass(frozen=True, slots=True)
class Marker:
    """A version that says: deleted."""

    id: str
    modified: float


@dataclass(frozen=True, slots=True)
class Deleted:
    version: str | None
    """The version that was deleted, or the one of the marker that was written."""
    marker: bool


Condition = Callable[[Object | None], None]
"""Told what is there; raises S3Error if that isn't what is asked for."""


def _open(full: bytes) -> tuple[int, os.stat_result] | None:
    try:
        # Without O_NONBLOCK a pipe that somebody left there would hold us up.
        file = os.open(full, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if isinstance(error, _NOT_THERE) or error.errno in (36, 40, 6):  # ENAMETOOLONG, ELOOP, ENXIO
            return None
        raise
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode):
        return file, found
    os.close(file)
    return None


def open_object(bucket: Bucket, key: str) -> tuple[int, Object] | None:
    """The current version, open; None if there is none."""
    path = names.path(key)
    for place in (path, path + names.BESIDE):
        opened = _open(bucket.full(place))
        if opened is not None:
            file, found = opened
            try:
                return file, Object(place, found, bucket.records.read(file, found, path))
            except BaseException:
                os.close(file)
                raise
    return None


def open_version(bucket: Bucket, key: str, version: str) -> tuple[int, Object] | Marker | None:
    """Any version, open, or what says that it is a deletion."""
    current = open_object(bucket, key)
    if current is not None:
        if current[1].record.version == version:
            return current
        os.close(current[0])
    for each in versions.noncurrent(bucket, key):
        if each.id != version:
            continue
        opened = _open(bucket.full(each.path))
        if opened is None:
            return None
        file, found = opened
        if each.marker:
            os.close(file)
            return Marker(each.id, found.st_mtime)
        return file, Object(each.path, found, bucket.records.read(file, found, each.path))
    return None


def newest_marker(bucket: Bucket, key: str) -> Marker | None:
    """The delete marker that hides an object, if one does."""
    if not bucket.settings.versioning:
        return None
    found = versions.noncurrent(bucket, key)
    if found and found[0].marker:
        return Marker(found[0].id, os.lstat(bucket.full(found[0].path)).st_mtime)
    return None


def peek(bucket: Bucket, key: str) -> Object | None:
    """What is known of the current version."""
    path = names.path(key)
    for place in (path, path + names.BESIDE):
        found = bucket.lstat(place)
        if found is not None and stat.S_ISREG(found.st_mode):
            return Object(place, found, bucket.records.read_path(bucket.full(place), found, path))
    return None


@contextmanager
def new(bucket: Bucket) -> Iterator[tuple[int, bytes]]:
    """A file to write to, and its path; what isn't renamed by the end is removed."""
    file, path = bucket.create_temporary()
    try:
        yield file, path
    finally:
        os.close(file)
        with suppress(*_NOT_THERE):
            os.unlink(bucket.full(path))


def put(
    bucket: Bucket,
    key: str,
    file: int,
    temporary: bytes,
    record: Record,
    *,
    condition: Condition | None = None,
) -> Object:
    """Let a file that is written be the object. All or nothing: a reader finds the old or the new one."""
    enabled = bucket.settings.versioning == "Enabled"
    record = replace(record, version=versions.new_id() if enabled else "null")
    side = bucket.records.seal(file, record, sync=bucket.options.sync)
    with bucket.alone(key):
        current = peek(bucket, key) if condition or bucket.settings.versioning else None
        if condition:
            condition(current)
        if bucket.settings.versioning:
            _keep(bucket, key, current, enabled=enabled)
        if side is not None:
            bucket.records.write_side(names.path(key), side)
        path = bucket.place(temporary, key)
    return Object(path, os.fstat(file), record)


def _keep(bucket: Bucket, key: str, current: Object | None, *, enabled: bool) -> None:
    if not enabled:
        versions.remove_null(bucket, key)
    if current is not None and (enabled or current.record.version != "null"):
        mtime = current.found.st_mtime_ns
        versions.keep(bucket, key, current.path, version=current.record.version, mtime_ns=mtime)


def delete(bucket: Bucket, key: str, *, condition: Condition | None = None) -> Deleted:
    """Delete as S3 does without a version: for good, or by a marker where the bucket has versions."""
    versioning = bucket.settings.versioning
    with bucket.alone(key):
        if condition:
            condition(peek(bucket, key))
        if not versioning:
            _remove_current(bucket, key)
            return Deleted(None, False)
        _keep(bucket, key, peek(bucket, key), enabled=versioning == "Enabled")
        marker = versions.mark_deleted(bucket, key, null=versioning != "Enabled")
        _remove_current(bucket, key)
        return Deleted(marker, True)


def delete_version(bucket: Bucket, key: str, version: str, *, condition: Condition | None = None) -> Deleted:
    """Delete one version for good; what was before it becomes current."""
    with bucket.alone(key):
        current = peek(bucket, key)
        if condition:
            condition(current)
        if current is not None and current.record.version == version:
            if not versions.promote(bucket, key):
                _remove_current(bucket, key)
            return Deleted(version, False)
        for each in versions.noncurrent(bucket, key):
            if each.id == version:
                bucket.remove(each.path)
                if current is None:
                    versions.promote(bucket, key)
                return Deleted(version, each.marker)
    return Deleted(version, False)


def _remove_current(bucket: Bucket, key: str) -> None:
    path = names.path(key)
    # In this order: what has the plain name is the object, and goes last.
    for place in (path + names.BESIDE, path):
        found = bucket.lstat(place)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            bucket.remove(place)


def change(
    bucket: Bucket, key: str, version: str | None, change: Callable[[Record], Record]
) -> Object | None:
    """Change what is known of an object: tags, who may read it. None if there is no such object."""
    with bucket.alone(key):
        opened = open_object(bucket, key) if version is None else open_version(bucket, key, version)
        if opened is None or isinstance(opened, Marker):
            return None
        file, found = opened
        try:
            record = change(found.record)
            bucket.records.replace(file, names.plain(found.path), record, sync=bucket.options.sync)
            return replace(found, record=record)
        finally:
            os.close(file)
