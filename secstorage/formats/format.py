"""The formats that stores have, and the refusal of what isn't right."""

from typing import Literal, get_args

Format = Literal["qcow2", "raw", "vhd", "vmdk", "ova", "iso", "tar"]
Packing = Literal["gzip", "xz", "bzip2", "zstd", "zip"]
FORMATS: tuple[Format, ...] = get_args(Format)
DISKS: frozenset[Format] = frozenset({"qcow2", "raw", "vhd", "vmdk"})
DRIVERS: dict[Format, str] = {"qcow2": "qcow2", "raw": "raw", "vhd": "vpc", "vmdk": "vmdk"}
"""As qemu-img calls them."""


class RefusedFileError(Exception):
    """A file that isn't let in: why, in a sentence."""


def file_name(format_: Format) -> str:
    """What the file of an entry is called on a store."""
    if format_ in DISKS:
        return f"disk.{format_}"
    return "image.iso" if format_ == "iso" else f"archive.{format_}"
