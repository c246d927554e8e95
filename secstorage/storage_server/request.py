"""What may be asked for: the bodies of PUT /v1/storage/jobs/ID."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from appliance.address import Name
from appliance.model import Model
from secstorage.document.limits import Rate
from secstorage.document.store import StoreName
from secstorage.download.url import check as check_url
from secstorage.formats.format import Format
from secstorage.storage_server.entry import EntryName

_LENGTHS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_CHECKSUM = re.compile(r"^(?:(md5|sha1|sha224|sha256|sha384|sha512):)?([0-9a-f]+)$")


def _checksum(text: str) -> str:
    match = _CHECKSUM.fullmatch(text)
    if match is None or len(match[2]) not in _LENGTHS:
        raise ValueError("must be a digest in lower-case hexadecimal, maybe behind sha256: or another name")
    if match[1] is not None and _LENGTHS[len(match[2])] != match[1]:
        raise ValueError(f"has not the length of {match[1]}")
    return f"{_LENGTHS[len(match[2])]}:{match[2]}"


def _url(text: str) -> str:
    check_url(text)
    return text


Checksum = Annotated[str, AfterValidator(_checksum)]
"""`sha256:...` or the digest alone, whose length tells which it is."""
Url = Annotated[str, Field(max_length=2048), AfterValidator(_url)]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$", max_length=1024)]


class _Request(Model):
    store: StoreName
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """Of the jobs that wait the highest is first, and of equal ones the oldest."""


class Download(_Request):
    kind: Literal["download"]
    entry: EntryName
    urls: Annotated[list[Url], Field(min_length=1, max_length=8)]
    """The same file, at several places: what one doesn't give another does."""
    checksum: Checksum | None = None
    """Of the file as it is downloaded."""
    format: Format | None = None
    """What it has to be; absent: whatever it is."""
    unpack: bool = True
    """gzip, xz, bzip2, zstd and zip are taken off."""
    credential: Name | None = None
    """Of the document's."""
    bytes_per_second: Rate | None = None
    description: Line = ""
    properties: Annotated[dict[Name, Line], Field(max_length=64)] = {}


class Convert(_Request):
    kind: Literal["convert"]
    source: EntryName
    entry: EntryName
    format: Literal["qcow2", "raw", "vhd", "vmdk"]
    compress: bool = False
    description: Line = ""
    properties: Annotated[dict[Name, Line], Field(max_length=64)] = {}


class Copy(_Request):
    """From another store of this appliance."""

    kind: Literal["copy"]
    from_store: StoreName
    source: EntryName
    entry: EntryName
    move: bool = False
    """The source goes once the copy is there."""


class Verify(_Request):
    """Read it all again, and compare with its checksum."""

    kind: Literal["verify"]
    entry: EntryName


class Delete(_Request):
    kind: Literal["delete"]
    entry: EntryName


Request = Annotated[Download | Convert | Copy | Verify | Delete, Field(discriminator="kind")]


class Submission(Model):
    """Made so that refusals point into the body itself."""

    job: Request
