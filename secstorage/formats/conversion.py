"""Disks in another format."""

from pathlib import Path

from secstorage.formats import sandbox
from secstorage.formats.format import DISKS, DRIVERS, Format, RefusedFileError
from secstorage.formats.inspection import node

_SECONDS = 24 * 3600
_OPTIONS: dict[Format, tuple[str, ...]] = {
    "vhd": ("-o", "subformat=dynamic,force_size=on"),
    "vmdk": ("-o", "subformat=streamOptimized"),
}


def converted(
    source: Path,
    target: Path,
    *,
    from_format: Format,
    to_format: Format,
    compress: bool,
    file_bytes: int,
    watch: sandbox.Watch,
) -> None:
    """Write `target`, which may not be there yet. Raises RefusedFileError."""
    if from_format not in DISKS or to_format not in DISKS:
        raise RefusedFileError(f"{from_format} can't be made {to_format}: both have to be disks")
    if compress and to_format != "qcow2":
        raise RefusedFileError(f"{to_format} has no compression that can be chosen")
    argv = [
        *("qemu-img", "convert", "-W", "-T", "none", "-t", "writeback"),
        *(("-c",) if compress else ()),
        *_OPTIONS.get(to_format, ()),
        *("-O", DRIVERS[to_format], node(source, from_format), str(target)),
    ]
    # Made here: it may open no other file for writing, so it can't make any.
    target.open("xb").close()
    sandbox.run(argv, reads=[source], writes=[target], seconds=_SECONDS, file_bytes=file_bytes, watch=watch)
