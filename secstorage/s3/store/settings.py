"""What is set for a whole bucket, in `.s3/bucket.json` of it."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    created: float = 0.0
    """Seconds since 1970."""
    owner: str = ""
    """The access key that made the bucket."""
    versioning: str = ""
    """Enabled, Suspended, or nothing if it never was."""
    acl: str = "private"
    policy: str = ""
    """JSON text as it came."""
    tags: Mapping[str, str] = field(default_factory=dict)
    cors: tuple[Mapping[str, Any], ...] = ()
    lifecycle: tuple[Mapping[str, Any], ...] = ()


_NAMES = frozenset(each.name for each in fields(Settings))
Witness = tuple[int, int, int]


class SettingsFile:
    """Read again whenever it isn't the same file any more: another daemon may have written it."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Witness, Settings]] = {}

    def read(self, bucket: bytes) -> Settings | None:
        """None if there is no such bucket."""
        path = bucket + b"/.s3/bucket.json"
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return _of_directory(bucket)
        except NotADirectoryError:
            return None
        witness = found.st_ino, found.st_mtime_ns, found.st_size
        known = self._known.get(bucket)
        if known is not None and known[0] == witness:
            return known[1]
        with open(path, "rb") as file:
            value = json.loads(file.read())
        for name in ("cors", "lifecycle"):
            value[name] = tuple(value.get(name, ()))
        settings = Settings(**{name: each for name, each in value.items() if name in _NAMES})
        if len(self._known) > 1000:
            self._known.clear()
        self._known[bucket] = witness, settings
        return settings


def _of_directory(bucket: bytes) -> Settings | None:
    # Somebody made it with mkdir: a bucket like any other.
    try:
        return Settings(created=os.stat(bucket).st_mtime)
    except FileNotFoundError:
        return None


def write(bucket: bytes, settings: Settings) -> None:
    directory = bucket + b"/.s3"
    os.makedirs(directory, exist_ok=True)
    temporary = b"%s/bucket.%s" % (directory, os.urandom(8).hex().encode())
    with open(temporary, "xb") as file:
        file.write(json.dumps(asdict(settings), ensure_ascii=False).encode())
        file.flush()
        # So that no two writes look the same to whoever compares times.
        now = time.time_ns()
        os.utime(file.fileno(), ns=(now, now))
        os.fsync(file.fileno())
    os.rename(temporary, directory + b"/bucket.json")
