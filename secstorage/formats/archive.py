"""Archives: tar, and OVA, which is one with a descriptor of what is in it (DMTF DSP0243)."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from secstorage.formats.format import RefusedFileError

_MOST_DESCRIPTOR = 4 << 20
_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
_UNITS = re.compile(r"byte(?:\s*\*\s*2\s*\^\s*(\d{1,2}))?")


@dataclass(frozen=True)
class Disk:
    member: str
    size: int
    virtual_bytes: int

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def read(path: Path, *, ova: bool, members: int) -> tuple[tuple[Disk, ...], dict[str, str]]:
    """An OVA's disks and properties; a tar has none. Raises RefusedFileError, also for members that would
    leave the directory they are unpacked in, or that aren't files."""
    sizes: dict[str, int] = {}
    descriptor = b""
    length = path.stat().st_size
    try:
        with tarfile.open(path, mode="r:") as archive:
            for member in _members(archive, members, plain=ova):
                if member.offset_data + member.size > length:
                    raise RefusedFileError(f"Archive: {member.name!r} is cut off")
                if member.name in sizes:
                    raise RefusedFileError(f"Archive: {member.name!r} comes twice")
                if member.isfile():
                    sizes[member.name] = member.size
                if ova and not descriptor and member.name.lower().endswith(".ovf"):
                    if member.size > _MOST_DESCRIPTOR:
                        raise RefusedFileError("OVA: its descriptor is too long")
                    file = archive.extractfile(member)
                    descriptor = file.read() if file else b""
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise RefusedFileError(f"Archive: {error}") from None
    return _described(descriptor, sizes) if ova else ((), {})


def _members(archive: tarfile.TarFile, most: int, *, plain: bool) -> Iterator[tarfile.TarInfo]:
    for number, member in enumerate(archive):
        if number >= most:
            raise RefusedFileError(f"Archive: it has more than {most} members")
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or "\0" in member.name or "\\" in member.name:
            raise RefusedFileError(f"Archive: {member.name!r} would be unpacked elsewhere")
        if plain and len(name.parts) != 1:
            raise RefusedFileError(f"OVA: {member.name!r} is in a directory")
        if not (member.isfile() or (member.isdir() and not plain)):
            raise RefusedFileError(f"Archive: {member.name!r} is no file: links and devices lead elsewhere")
        yield member


def _described(text: bytes, sizes: dict[str, int]) -> tuple[tuple[Disk, ...], dict[str, str]]:
    if not text:
        raise RefusedFileError("OVA: it has no descriptor")
    # Entities are how an XML file reads others, and grows without end; a descriptor has none.
    if b"\0" in text or re.search(rb"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise RefusedFileError("OVA: its descriptor declares entities, or is no UTF-8")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314
    except ElementTree.ParseError as error:
        raise RefusedFileError(f"OVA: its descriptor is no XML: {error}") from None
    files = {file.get(f"{_OVF}id"): file.get(f"{_OVF}href") or "" for file in root.iter(f"{_OVF}File")}
    disks: list[Disk] = []
    for disk in root.iter(f"{_OVF}Disk"):
        reference = disk.get(f"{_OVF}fileRef")
        if reference is None:
            continue  # An empty one, made where the OVA is used.
        href = files.get(reference)
        if href is None or href not in sizes:
            raise RefusedFileError(f"OVA: its disk {href or reference!r} isn't in it")
        if disk.get(f"{_OVF}parentRef"):
            raise RefusedFileError(f"OVA: its disk {href!r} is a difference to another")
        disks.append(Disk(member=href, size=sizes[href], virtual_bytes=_capacity(disk)))
    if not disks:
        raise RefusedFileError("OVA: it has no disk")
    return tuple(disks), dict(_properties(root))


def _capacity(disk: ElementTree.Element) -> int:
    text, units = disk.get(f"{_OVF}capacity") or "", disk.get(f"{_OVF}capacityAllocationUnits") or "byte"
    unit = _UNITS.fullmatch(units.strip())
    if not re.fullmatch(r"\d{1,20}", text) or unit is None:
        raise RefusedFileError(f"OVA: a disk's capacity is {text!r} of {units!r}")
    return int(text) << int(unit[1] or 0)


def _properties(root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    system = root.find(f".//{_OVF}VirtualSystem")
    if system is not None and (name := system.get(f"{_OVF}id")):
        yield "ovf.system", name[:200]
    described = root.find(f".//{_OVF}OperatingSystemSection/{_OVF}Description")
    if described is not None and described.text:
        yield "ovf.operating-system", " ".join(described.text.split())[:200]
