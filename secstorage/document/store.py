"""Stores: where templates, volumes and snapshots are kept."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.address import IpAddress
from appliance.model import Model

StoreName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30})$")]
"""What people, jobs and paths call a store by."""
StoreState = Literal["active", "read_only", "draining"]
Bytes = Annotated[int, Field(ge=0, le=2**62)]


class _Store(Model):
    state: StoreState = "active"
    """`read_only`: what is there is served, nothing comes and nothing goes. `draining`: nothing comes; what
    is there may be moved and deleted."""
    reserve_bytes: Bytes = 1 << 30
    """Kept free: no job begins that would take the store below it, and one that does is ended."""
    jobs_at_once: Annotated[int, Field(ge=1, le=64)] = 4


class LocalStore(_Store):
    """A directory on the appliance's own state disk."""

    kind: Literal["local"]


class DiskStore(_Store):
    """A disk of its own, with a file system on it."""

    kind: Literal["disk"]
    uuid: Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    """The file system's (blkid(8)), in lower case."""
    file_system: Literal["ext4", "xfs"] = "ext4"


class NfsStore(_Store):
    """A directory that an NFS server exports (nfs(5)). It has to be writable by user and group 850."""

    kind: Literal["nfs"]
    server: IpAddress
    export: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]{0,255}$")]
    version: Literal["3", "4.0", "4.1", "4.2"] = "4.2"
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 10
    """For each request; after `retries` more the one who asked is told of an error, instead of waiting for a
    server that may never come back."""
    retries: Annotated[int, Field(ge=1, le=10)] = 2
    connections: Annotated[int, Field(ge=1, le=16)] = 1
    """TCP connections that requests are shared out to (nconnect)."""


Store = Annotated[LocalStore | DiskStore | NfsStore, Field(discriminator="kind")]
