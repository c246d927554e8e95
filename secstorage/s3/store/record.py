"""What is known of an object beside its bytes, and where that is kept.

It is in the extended attribute `user.s3` of the file itself where the file system has such (so that both
come and go in one rename), else in a side file `.s3/records/PATH%m` of the bucket: on NFS before 4.2, or
when the attribute doesn't fit into the inode. Either says of which modification time and size it speaks:
what another program wrote in the meantime is an object that nothing more is known of.
"""

import errno
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import md5
from typing import Any

ATTRIBUTE = b"user.s3"
_SIDE = b"%m"
_NO_ATTRIBUTE = {
    errno.ENOTSUP,
    errno.ENOSPC,
    errno.E2BIG,
    errno.ERANGE,
    errno.EPERM,
    errno.EACCES,
    errno.EDQUOT,
}
_MOST = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    etag: str
    """Without quotation marks: MD5 in hex, or MD5 of MD5s and the number of parts."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What is sent with the object as it came: content-type, cache-control, ..."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The user's, without x-amz-meta-."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Base64 by algorithm."""
    checksum_type: str = "FULL_OBJECT"
    tags: Mapping[str, str] = field(default_factory=dict)
    acl: str = ""
    version: str = "null"
    parts: tuple[tuple[int, int], ...] = ()
    """Sizes of the parts it came in, as runs: so many bytes, so many times."""

    def part(self, number: int) -> tuple[int, int] | None:
        """Offset and size of a part, counted from 1."""
        offset = 0
        for size, count in self.parts:
            if number <= count:
                return offset + size * (number - 1), size
            offset += size * count
            number -= count
        return None

    @property
    def part_count(self) -> int:
        return sum(count for _, count in self.parts)


_DEFAULTS = asdict(Record(etag=""))
_NAMES = frozenset(each.name for each in fields(Record))


def runs(sizes: list[int]) -> tuple[tuple[int, int], ...]:
    """Sizes of parts as runs."""
    found: list[tuple[int, int]] = []
    for size in sizes:
        if found and found[-1][0] == size:
            found[-1] = size, found[-1][1] + 1
        else:
            found.append((size, 1))
    return tuple(found)


class Records:
    """The records of one bucket's files."""

    def __init__(self, bucket: bytes, *, attributes: bool = True) -> None:
        self._bucket = bucket
        self._attributes = attributes

    def _side(self, path: bytes) -> bytes:
        return b"%s/.s3/records/%s%s" % (self._bucket, path, _SIDE)

    def seal(self, file: int, record: Record, *, sync: bool) -> bytes | None:
        """Give a finished file its record and bring both to the disk. What is returned, if anything, has to
        be given to `write_side`, alone with the object, before the file is renamed to where it belongs."""
        now = time.time_ns()
        os.utime(file, ns=(now, now))
        side = self._write(file, record)
        if sync:
            os.fsync(file)
        return side

    def replace(self, file: int, path: bytes, record: Record, *, sync: bool) -> None:
        """Give the file that is at `path` another record."""
        side = self._write(file, record)
        if side is not None:
            self.write_side(path, side)
        if sync:
            os.fsync(file)

    def _write(self, file: int, record: Record) -> bytes | None:
        text = _text(record, os.fstat(file))
        if not self._attributes:
            return text
        try:
            os.setxattr(file, ATTRIBUTE, text)
            return None
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTE:
                raise
        with suppress(OSError):
            # The old one would be believed.
            os.removexattr(file, ATTRIBUTE)
        return text

    def write_side(self, path: bytes, text: bytes) -> None:
        # The record of the file that is still there stays beside the new one's until that is renamed:
        # whoever reads in between finds the one that fits.
        side = self._side(path)
        full = self._bucket + b"/" + path
        kept = [line for line in _lines(side) if _fits(line, full) or _fits(line, full + b"%")]
        os.makedirs(os.path.dirname(side), exist_ok=True)
        temporary = b"%s/.%s" % (os.path.dirname(side), os.urandom(12).hex().encode())
        with open(temporary, "xb") as file:
            file.write(b"\n".join([text, *kept[:1]]))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, side)

    def read(self, file: int, found: os.stat_result, path: bytes) -> Record:
        """The record of an open file; of one that has none, what can be told."""
        if self._attributes:
            try:
                record = _record(os.getxattr(file, ATTRIBUTE), found)
            except OSError:
                record = None
            if record is not None:
                return record
        return self._read_side(found, path)

    def read_path(self, full: bytes, found: os.stat_result, path: bytes) -> Record:
        """The same of a file that isn't open."""
        if self._attributes:
            try:
                record = _record(os.getxattr(full, ATTRIBUTE, follow_symlinks=False), found)
            except OSError:
                record = None
            if record is not None:
                return record
        return self._read_side(found, path)

    def _read_side(self, found: os.stat_result, path: bytes) -> Record:
        for line in _lines(self._side(path)):
            record = _record(line, found)
            if record is not None:
                return record
        return foreign(found)

    def moved(self, old: bytes, new: bytes) -> None:
        """A file gets another path as well: what is in its side file has to be there first."""
        lines = _lines(self._side(old))
        if lines:
            side = self._side(new)
            os.makedirs(os.path.dirname(side), exist_ok=True)
            with open(side, "wb") as file:
                file.write(b"\n".join(lines))
                file.flush()
                os.fsync(file.fileno())

    def forget(self, path: bytes) -> None:
        """The file is gone."""
        try:
            os.unlink(self._side(path))
        except (FileNotFoundError, NotADirectoryError):
            return
        remove_empty(os.path.dirname(self._side(path)), self._bucket + b"/.s3/records")


def remove_empty(directory: bytes, top: bytes) -> None:
    """Remove a directory and those above it, below `top`, as far as nothing is in them."""
    while len(directory) > len(top):
        try:
            os.rmdir(directory)
        except OSError:
            return
        directory = os.path.dirname(directory)


def foreign(found: os.stat_result) -> Record:
    """Of a file that another program wrote. The ETag is none that a client takes for an MD5."""
    witness = f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"
    return Record(etag=f"{md5(witness.encode(), usedforsecurity=False).hexdigest()}-1")


def _text(record: Record, found: os.stat_result) -> bytes:
    value: dict[str, Any] = {"at": [found.st_mtime_ns, found.st_size]}
    for name, default in _DEFAULTS.items():
        mine = getattr(record, name)
        if mine != default:
            value[name] = mine
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _record(text: bytes, found: os.stat_result) -> Record | None:
    try:
        value = json.loads(text)
        if value.pop("at") != [found.st_mtime_ns, found.st_size]:
            return None
        if "parts" in value:
            value["parts"] = tuple((size, count) for size, count in value["parts"])
        return Record(**{name: each for name, each in value.items() if name in _NAMES})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _lines(side: bytes) -> list[bytes]:
    try:
        with open(side, "rb") as file:
            return file.read(4 * _MOST).splitlines()
    except OSError:
        return []


def _fits(line: bytes, full: bytes) -> bool:
    try:
        return _record(line, os.stat(full, follow_symlinks=False)) is not None
    except OSError:
        return False
