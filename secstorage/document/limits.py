"""Limits: what jobs may take."""

from typing import Annotated

from pydantic import Field

from appliance.model import Model

_GIB = 1 << 30
Rate = Annotated[int, Field(ge=1024, le=1 << 40)]
"""Bytes a second."""


class Limits(Model):
    jobs_at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Others wait, the ones with the highest priority first."""
    jobs_kept: Annotated[int, Field(ge=10, le=100_000)] = 1000
    """Ended jobs of a store that are remembered."""
    download_bytes_per_second: Rate | None = None
    """Of all downloads together."""
    connections: Annotated[int, Field(ge=1, le=16)] = 4
    """Ranges of one download that are fetched at once, where servers offer ranges."""
    redirects: Annotated[int, Field(ge=0, le=20)] = 5
    attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """Of a download without progress, before it has failed. Between them it waits 1 s, 2 s, ... 60 s."""
    least_bytes_per_second: Annotated[int, Field(ge=0, le=1 << 30)] = 1024
    """A server that sends less for half a minute is left, as one that sends nothing."""
    file_bytes: Annotated[int, Field(ge=1 << 20, le=2**62)] = 256 * _GIB
    """Of one file, downloaded or unpacked."""
    virtual_bytes: Annotated[int, Field(ge=1 << 20, le=2**62)] = 8192 * _GIB
    """Of a disk, as a guest sees it."""
    expansion: Annotated[int, Field(ge=10, le=100_000)] = 1100
    """How many times its packed size a file may unpack to. Deflate's most is 1,032."""
    archive_members: Annotated[int, Field(ge=1, le=10_000)] = 100
