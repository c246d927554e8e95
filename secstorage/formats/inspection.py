"""What is in a file: its format, the size that a guest sees, the disks in an archive."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secstorage.formats import archive, headers, sandbox
from secstorage.formats.format import DRIVERS, Format, RefusedFileError
from secstorage.formats.recognition import recognised

_SECONDS = 60
_CHECK_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Inspection:
    format: Format
    virtual_bytes: int
    """As a guest sees it; of an archive all its disks."""
    disks: tuple[archive.Disk, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)


def node(path: Path, format_: Format) -> str:
    """A file for qemu-img, which is to find out nothing by itself and to follow nothing."""
    file = {"driver": "file", "filename": str(path), "locking": "off"}
    layer: dict[str, Any] = {"driver": DRIVERS[format_], "file": file}
    if format_ == "qcow2":
        layer["backing"] = None
    return "json:" + json.dumps(layer)


def inspected(
    path: Path, *, expected: Format | None, virtual_bytes: int, members: int, verify: bool = True
) -> Inspection:
    """Raises RefusedFileError. `virtual_bytes` and `members` are the most that there may be."""
    format_ = recognised(path, expected=expected)
    if format_ in ("ova", "tar"):
        disks, properties = archive.read(path, ova=format_ == "ova", members=members)
        total = sum(disk.virtual_bytes for disk in disks)
        _limited(total, virtual_bytes)
        return Inspection(format=format_, virtual_bytes=total, disks=disks, properties=properties)
    size = path.stat().st_size
    if format_ in ("iso", "raw"):
        if format_ == "raw" and size % 512:
            raise RefusedFileError("A raw disk is of whole sectors of 512 bytes: the file is cut off")
        if format_ == "iso":
            _whole_iso(path, size)
        _limited(size, virtual_bytes)
        return Inspection(format=format_, virtual_bytes=size)
    headers.check(path, format_)
    argv = ["qemu-img", "info", "--output=json", node(path, format_)]
    told = json.loads(sandbox.run(argv, reads=[path], seconds=_SECONDS))
    for name in ("backing-filename", "full-backing-filename"):
        if told.get(name):
            raise RefusedFileError("It has a backing file, which would be read in its place")
    total = int(told["virtual-size"])
    _limited(total, virtual_bytes)
    if verify and format_ == "qcow2":
        check = ["qemu-img", "check", "--output=json", node(path, format_)]
        sandbox.run(check, reads=[path], seconds=_CHECK_SECONDS)
    return Inspection(format=format_, virtual_bytes=total)


def _whole_iso(path: Path, size: int) -> None:
    """ECMA-119, 8.4.8 and 8.4.12: how many blocks of what size the volume has."""
    with path.open("rb") as file:
        file.seek(32768)
        descriptor = file.read(2048)
    blocks, length = (
        int.from_bytes(descriptor[80:84], "little"),
        int.from_bytes(descriptor[128:130], "little"),
    )
    if descriptor[0] == 1 and blocks * length > size:
        raise RefusedFileError(f"ISO: {blocks * length} bytes are its volume's, and the file has {size}")


def _limited(total: int, most: int) -> None:
    if total > most:
        raise RefusedFileError(f"A guest would see {total} bytes of disk; {most} are allowed")
