"""Headers of disks, read before any tool is let near the file: none may lead to another file."""

import re
import struct
from pathlib import Path

from secstorage.formats.format import Format, RefusedFileError

_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE = 0x44415441
_KNOWN_FEATURES = 0b11001
"""Of QCOW2's incompatible ones: dirty, compression type, extended L2 entries."""
_EXTERNAL_DATA = 0b100
_EMBEDDED = ("monolithicSparse", "streamOptimized")
_MOST_DESCRIPTOR = 64 * 1024


def check(path: Path, format_: Format) -> None:
    """Raises RefusedFileError."""
    if format_ == "qcow2":
        _qcow2(path)
    elif format_ == "vmdk":
        _vmdk(path)
    elif format_ == "vhd":
        _vhd(path)


def _qcow2(path: Path) -> None:
    """docs/interop/qcow2.txt of QEMU."""
    with path.open("rb") as file:
        head = file.read(1 << 21)
    if len(head) < 72:
        raise RefusedFileError("QCOW2: the header is cut off")
    version, backing, _, cluster_bits, _, encryption = struct.unpack(">IQIIQI", head[4:36])
    if version not in (2, 3):
        raise RefusedFileError(f"QCOW2: version {version} isn't known")
    if backing:
        raise RefusedFileError("QCOW2: it has a backing file, which would be read in its place")
    if not 9 <= cluster_bits <= 21:
        raise RefusedFileError(f"QCOW2: clusters of 2^{cluster_bits} bytes aren't valid")
    if encryption:
        raise RefusedFileError("QCOW2: it is encrypted, so nothing in it can be verified")
    extensions = 72
    if version == 3:
        if len(head) < 104:
            raise RefusedFileError("QCOW2: the header is cut off")
        (features,) = struct.unpack(">Q", head[72:80])
        (extensions,) = struct.unpack(">I", head[100:104])
        if features & _EXTERNAL_DATA:
            raise RefusedFileError("QCOW2: its data is in an external file")
        if features & ~_KNOWN_FEATURES:
            raise RefusedFileError("QCOW2: it is marked corrupt, or has features that aren't known")
    _extensions(head[: 1 << cluster_bits], extensions)


def _extensions(head: bytes, at: int) -> None:
    while at + 8 <= len(head):
        kind, length = struct.unpack(">II", head[at : at + 8])
        if kind == 0:
            return
        if kind in (_BACKING_FORMAT, _DATA_FILE):
            raise RefusedFileError("QCOW2: an extension of its header names another file")
        at += 8 + (length + 7 & ~7)
    # Version 2 has no end mark where a cluster ends.


def _vmdk(path: Path) -> None:
    """VMware's Virtual Disk Format 5.0: a sparse extent with its descriptor embedded, and nothing else."""
    with path.open("rb") as file:
        head = file.read(512)
        if not head.startswith(b"KDMV"):
            raise RefusedFileError("VMDK: a descriptor or extent of its own only points to other files")
        if len(head) < 512:
            raise RefusedFileError("VMDK: the header is cut off")
        _, _, capacity, _, at, length = struct.unpack("<IIQQQQ", head[4:44])
        if not capacity or not at or not length or length * 512 > _MOST_DESCRIPTOR:
            raise RefusedFileError("VMDK: it has no descriptor embedded, or no size")
        file.seek(at * 512)
        descriptor = file.read(length * 512).split(b"\0", 1)[0].decode("latin-1")
    kind = re.search(r'^\s*createType\s*=\s*"([^"]*)"', descriptor, re.MULTILINE)
    if kind is None or kind[1] not in _EMBEDDED:
        raise RefusedFileError("VMDK: its type isn't monolithicSparse or streamOptimized")
    extents = re.findall(r"^\s*(?:RW|RDONLY|NOACCESS)\s.*$", descriptor, re.MULTILINE)
    if len(extents) != 1 or not re.fullmatch(r'\s*RW \d+ SPARSE "[^"/\\]*"\s*\d*\s*', extents[0]):
        raise RefusedFileError("VMDK: its descriptor points to other files")
    parent = re.search(r"^\s*parentCID\s*=\s*(\S+)", descriptor, re.MULTILINE)
    if parent is not None and parent[1].lower() != "ffffffff":
        raise RefusedFileError("VMDK: it is a difference to a parent, which would be read in its place")
    if re.search(r"parentFileNameHint", descriptor, re.IGNORECASE):
        raise RefusedFileError("VMDK: it names a parent, which would be read in its place")


def _vhd(path: Path) -> None:
    """Microsoft's Virtual Hard Disk Image Format Specification 1.0."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, size - 512))
        tail = file.read(512)
    # Old writers' footer is a byte short.
    footer = tail if tail.startswith(b"conectix") else tail[1:] if tail[1:9] == b"conectix" else head
    if len(footer) < 88 or not footer.startswith(b"conectix"):
        raise RefusedFileError("VHD: it has no footer: the file is cut off")
    (kind,) = struct.unpack(">I", footer[60:64])
    if kind == 4:
        raise RefusedFileError("VHD: it is a difference to a parent, which would be read in its place")
    if kind not in (2, 3):
        raise RefusedFileError(f"VHD: type {kind} isn't known")
    if tail[:8] != b"conectix" and tail[1:9] != b"conectix":
        raise RefusedFileError("VHD: it has no footer at its end: the file is cut off")
