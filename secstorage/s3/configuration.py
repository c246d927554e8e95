"""What the daemon is told, in one JSON file that is read again on SIGHUP."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from appliance.model import Keyed, Model, SecretLine, validated

Right = Literal["read", "write", "full"]
RANKS: dict[str, int] = {"": 0, "read": 1, "write": 2, "full": 3}


class Listen(Model):
    """Where to listen."""

    address: str = "::"
    """IPv4 or IPv6; `::` is both."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9000
    certificate: Path | None = Field(default=None, strict=False)
    """PEM file of the certificate and its chain; with it the listener speaks TLS (1.2 and 1.3)."""
    key: Path | None = Field(default=None, strict=False)
    """PEM file of its private key, if that isn't in the certificate's file."""


class Credential(Model):
    """An access key's secret and rights."""

    secret: SecretLine
    rights: dict[str, Right] = {"*": "full"}
    """By bucket name or pattern (`*`, `?`): `read` lists and reads, `write` puts and deletes objects, too,
    `full` makes, changes and deletes buckets. The strongest that fits counts; bucket policies and ACLs add
    to it."""

    def rank(self, bucket: str) -> int:
        return max(
            (RANKS[right] for pattern, right in self.rights.items() if fnmatchcase(bucket, pattern)),
            default=0,
        )


class Limits(Model):
    """What clients can make the daemon use."""

    connections: Annotated[int, Field(ge=1)] = 1024
    """At once in each worker process; the longest idle one is closed for a new one."""
    requests: Annotated[int, Field(ge=1)] = 256
    """Answered at once in each worker process, small reads not counted."""
    buckets: Annotated[int, Field(ge=0)] = 1000
    object_bytes: Annotated[int, Field(ge=1)] = 5 * 1024**3
    """Of one PUT or part."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes; 0 is one per processor."""
    reserve_bytes: Annotated[int, Field(ge=0)] = 0
    """What a PUT may not use of the file system's free space."""


class Configuration(Model):
    root: Path = Field(strict=False)
    """The directory of buckets."""
    listen: Annotated[list[Listen], Field(min_length=1)] = [Listen()]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] = "us-east-1"
    domains: list[Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}$")]] = []
    """Host names of ours: `BUCKET.DOMAIN` is a bucket, too. Paths always work."""
    credentials: Keyed[
        Annotated[str, Field(pattern=r"^[\x21-\x2b\x2d\x2e\x30-\x7e]{1,128}$")], Credential
    ] = {}
    limits: Limits = Limits()
    attributes: bool = True
    """Whether records may be extended attributes; else they are side files."""
    sync: bool = True
    """Whether an answer waits until what it tells of survives a power cut."""
    sweep_seconds: Annotated[float, Field(ge=0)] = 3600.0
    """How often lifecycle rules are applied and remains of what never finished are removed; 0 is never."""
    access_log: bool = False
    """A line on standard error for each request."""


def read(path: Path) -> Configuration:
    """Raises OSError, ValueError or RefusedError."""
    return validated(Configuration, json.loads(path.read_text()))
