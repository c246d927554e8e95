"""A bucket: a directory of objects, and what belongs to them in its `.s3`."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from secstorage.s3.error import S3Error
from secstorage.s3.store import lock, names, settings
from secstorage.s3.store.record import Records, remove_empty
from secstorage.s3.store.settings import Settings, SettingsFile
from secstorage.s3.store.walk import walk


@dataclass(frozen=True, slots=True)
class Options:
    attributes: bool = True
    """Whether extended attributes are tried; else all records are side files."""
    sync: bool = True
    """Whether what is acknowledged is on the disk, also after a power cut."""


class Bucket:
    def __init__(self, name: str, path: bytes, found: Settings, options: Options) -> None:
        self.name = name
        self.path = path
        self.settings = found
        self.options = options
        self.records = Records(path, attributes=options.attributes)

    def alone(self, key: str) -> AbstractContextManager[None]:
        """No other daemon or thread changes the object meanwhile."""
        return lock.held(self.path + b"/.s3/locks", key)

    def temporary(self) -> bytes:
        """A new path, relative to the bucket, for what isn't finished."""
        return b".s3/temporary/" + os.urandom(12).hex().encode()

    def create_temporary(self) -> tuple[int, bytes]:
        """A file to write to, and its path."""
        path = self.temporary()
        full = self.full(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(full, flags, 0o644), path
        except FileNotFoundError:
            self.check()
            os.makedirs(os.path.dirname(full), exist_ok=True)
            return os.open(full, flags, 0o644), path

    def full(self, path: bytes) -> bytes:
        return b"%s/%s" % (self.path, path)

    def check(self) -> None:
        """Raises S3Error if the bucket has gone meanwhile."""
        if not os.path.isdir(self.path):
            raise S3Error("NoSuchBucket", elements={"BucketName": self.name})

    def lstat(self, path: bytes) -> os.stat_result | None:
        try:
            return os.lstat(self.full(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def place(self, source: bytes, key: str) -> bytes:
        """Rename a finished file to be the object of `key`, in place of what was. Returns its path."""
        target = names.path(key)
        beside = target + names.BESIDE
        while True:
            there = self.lstat(target)
            if (there is not None and stat.S_ISDIR(there.st_mode)) or (
                there is None and self.lstat(beside) is not None
            ):
                chosen = beside
            else:
                chosen = target
            try:
                os.rename(self.full(source), self.full(chosen))
            except (FileNotFoundError, NotADirectoryError):
                self.check()
                self.make_directories(os.path.dirname(chosen))
            except IsADirectoryError:
                continue
            else:
                self.sync_directory(os.path.dirname(chosen))
                return chosen

    def make_directories(self, directory: bytes) -> None:
        """Make all directories of a path. What is an object of such a name moves aside."""
        done = b""
        for name in directory.split(b"/") if directory else ():
            path = b"%s/%s" % (done, name) if done else name
            for _ in range(100):
                try:
                    os.mkdir(self.full(path), 0o755)
                    self.sync_directory(done)
                except FileExistsError:
                    if os.path.isdir(self.full(path)):
                        break
                    with suppress(FileNotFoundError):
                        os.rename(self.full(path), self.full(path) + names.BESIDE)
                    continue
                except FileNotFoundError:
                    self.check()
                    return  # One above went away: whoever asked asks again.
                break
            done = path

    def sync_directory(self, directory: bytes) -> None:
        if not self.options.sync:
            return
        with suppress(FileNotFoundError):
            file = os.open(self.full(directory) if directory else self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def remove(self, path: bytes) -> bool:
        """Remove a file, its record and the directories that are empty without it. Whether it was there."""
        try:
            os.unlink(self.full(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        self.records.forget(names.plain(path))
        directory = os.path.dirname(path)
        self.sync_directory(directory)
        top = self.path
        if path.startswith(b".s3/"):
            top = self.full(b"/".join(path.split(b"/")[:2]))
        remove_empty(os.path.dirname(self.full(path)), top)
        return True

    def change(self, change: Callable[[Settings], Settings]) -> None:
        """Set what is set for the bucket."""
        with lock.held(self.path + b"/.s3/locks", ""):
            current = SettingsFile().read(self.path)
            if current is None:
                raise S3Error("NoSuchBucket")
            self.settings = change(current)
            settings.write(self.path, self.settings)


class Store:
    """A directory of buckets. Raises S3Error."""

    def __init__(self, root: str, options: Options) -> None:
        self.root = os.fsencode(root)
        self.options = options
        self._settings = SettingsFile()

    def _path(self, name: str) -> bytes:
        return b"%s/%s" % (self.root, name.encode())

    def bucket(self, name: str) -> Bucket:
        if not names.is_bucket_name(name):
            raise S3Error("InvalidBucketName", elements={"BucketName": name})
        path = self._path(name)
        found = self._settings.read(path)
        if found is None:
            raise S3Error("NoSuchBucket", elements={"BucketName": name})
        return Bucket(name, path, found, self.options)

    def buckets(self) -> Iterator[Bucket]:
        for name in sorted(os.listdir(self.root)):
            with suppress(S3Error, UnicodeDecodeError):
                yield self.bucket(name.decode())

    def create(self, name: str, *, owner: str, acl: str, region: str) -> None:
        if not names.is_bucket_name(name):
            raise S3Error("InvalidBucketName", elements={"BucketName": name})
        path = self._path(name)
        # Made whole beside and renamed: a bucket is there with its owner, or isn't.
        temporary = b"%s/.making-%s" % (self.root, os.urandom(8).hex().encode())
        os.mkdir(temporary, 0o755)
        try:
            settings.write(temporary, Settings(created=time.time(), owner=owner, acl=acl))
            with lock.held(self.root + b"/.locks", name):
                found = self._settings.read(path)
                if found is not None:
                    code = "BucketAlreadyOwnedByYou" if found.owner == owner else "BucketAlreadyExists"
                    raise S3Error(code, elements={"BucketName": name})
                os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def delete(self, bucket: Bucket) -> None:
        """Raises S3Error if anything is in it, versions included."""
        gone = b"%s/.gone-%s" % (self.root, os.urandom(8).hex().encode())
        with lock.held(self.root + b"/.locks", bucket.name):
            if _has_objects(bucket.path):
                raise S3Error("BucketNotEmpty", elements={"BucketName": bucket.name})
            try:
                os.rename(bucket.path, gone)
            except FileNotFoundError:
                raise S3Error("NoSuchBucket", elements={"BucketName": bucket.name}) from None
            # Something came in between.
            if _has_objects(gone):
                os.rename(gone, bucket.path)
                raise S3Error("BucketNotEmpty", elements={"BucketName": bucket.name})
        shutil.rmtree(gone, ignore_errors=True)


def _has_objects(path: bytes) -> bool:
    versions = path + b"/.s3/versions"
    return any(True for _ in walk(path)) or any(True for _ in walk(versions, versions=True))
