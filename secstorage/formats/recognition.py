"""What a file begins and ends with."""

import tarfile
from io import BytesIO
from pathlib import Path

from secstorage.formats.format import Format, Packing, RefusedFileError

_PACKED: tuple[tuple[bytes, Packing], ...] = (
    (b"\x1f\x8b\x08", "gzip"),  # RFC 1952
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),  # RFC 8878
    (b"PK\x03\x04", "zip"),
)
_HEAD = 64 * 1024
_ISO_AT = 32769
"""Of the first volume descriptor's identifier (ECMA-119, 8.1)."""
_TAR_AT = 257
_FILE_SYSTEMS = (
    (1080, b"\x53\xef"),  # ext2 to ext4
    (0, b"XFSB"),
    (65536 + 64, b"_BHRfS_M"),  # btrfs
    (536, b"LABELONE"),  # LVM
    (510, b"\x55\xaa"),  # a boot sector: MBR, protective MBR of a GPT, FAT, NTFS
    (512, b"EFI PART"),
)


def packing(path: Path) -> Packing | None:
    """What a file is packed with."""
    with path.open("rb") as file:
        head = file.read(8)
    return next((name for magic, name in _PACKED if head.startswith(magic)), None)


def recognised(path: Path, *, expected: Format | None = None) -> Format:
    """A file's format. Raises RefusedFileError where it has none that is known, or another than expected.

    A raw disk has no mark of its own: one with neither a boot sector nor a known file system is taken for
    one only if that is expected."""
    found = _found(path)
    if found is None:
        if expected != "raw":
            raise RefusedFileError(
                "The file is none of QCOW2, VHD, VMDK, OVA, ISO, tar, and no disk with a boot sector or a "
                "file system"
            )
        found = "raw"
    if expected is not None and found != expected:
        raise RefusedFileError(f"The file's content is {found}, where {expected} was expected")
    return found


def _found(path: Path) -> Format | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD + 512)
        file.seek(max(0, size - 512))
        tail = file.read(512)
    if head.startswith(b"QFI\xfb"):
        return "qcow2"
    if head.startswith((b"KDMV", b"COWD", b"# Disk DescriptorFile")):
        return "vmdk"
    if head[:8] == b"conectix" or tail[:8] == b"conectix" or tail[1:9] == b"conectix":
        return "vhd"
    if head[_ISO_AT : _ISO_AT + 5] == b"CD001":
        return "iso"
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "ova" if _first_member(head).lower().endswith(".ovf") else "tar"
    if size and any(head[at : at + len(mark)] == mark for at, mark in _FILE_SYSTEMS):
        return "raw"
    return None


def _first_member(head: bytes) -> str:
    """An OVA's first member is its descriptor (DSP0243, section 5.3)."""
    try:
        with tarfile.open(fileobj=BytesIO(head[:1536]), mode="r:") as archive:
            first = archive.next()
    except (tarfile.TarError, ValueError):
        return ""
    return first.name if first is not None else ""
