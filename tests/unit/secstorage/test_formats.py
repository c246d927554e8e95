"""Files as they are, and files that are made to do harm."""

import io
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from secstorage.formats import inspection, sandbox
from secstorage.formats.conversion import converted
from secstorage.formats.format import Format, RefusedFileError

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
_TIB = 1 << 40
OVF = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:id="file1" ovf:href="%s"/></References>
<DiskSection><Info/><Disk ovf:diskId="d" ovf:fileRef="file1" ovf:capacity="%s"
 ovf:capacityAllocationUnits="byte * 2^30"/></DiskSection>
<VirtualSystem ovf:id="web"><Info/></VirtualSystem></Envelope>"""


def inspected(path: Path, expected: Format | None = None) -> inspection.Inspection:
    return inspection.inspected(path, expected=expected, virtual_bytes=_TIB, members=10)


def made(path: Path, *options: str, kind: str = "qcow2", size: str = "10M") -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, *options, path, size], check=True)
    return path


def edited(path: Path, at: int, content: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
    return path


@pytest.mark.parametrize(
    ("kind", "options", "format_"),
    [("qcow2", [], "qcow2"), ("qcow2", ["-o", "compat=0.10"], "qcow2"), ("vpc", [], "vhd"),
     ("qcow2", ["-o", "compression_type=zstd"], "qcow2"),
     ("vpc", ["-o", "subformat=fixed"], "vhd"), ("vmdk", [], "vmdk"),
     ("vmdk", ["-o", "subformat=streamOptimized"], "vmdk")],
)  # fmt: skip
def test_disks_are_known_by_their_content(
    tmp_path: Path, kind: str, options: list[str], format_: str
) -> None:
    found = inspected(made(tmp_path / "misleading.iso", *options, kind=kind))
    assert found.format == format_
    assert 10 << 20 <= found.virtual_bytes < 11 << 20, "VHD's geometry rounds up"


def test_an_iso_and_a_raw_disk(tmp_path: Path) -> None:
    iso = bytearray(65536)
    iso[32768:32774] = b"\x01CD001"
    iso[32848:32852] = struct.pack("<I", 32)
    iso[32896:32898] = struct.pack("<H", 2048)
    (tmp_path / "iso").write_bytes(iso)
    assert inspected(tmp_path / "iso").format == "iso"
    (tmp_path / "iso").write_bytes(iso[:60000])
    with pytest.raises(RefusedFileError, match="65536 bytes are its volume's"):
        inspected(tmp_path / "iso")
    (tmp_path / "raw").write_bytes(bytes(1 << 20))
    with pytest.raises(RefusedFileError, match="none of"):
        inspected(tmp_path / "raw")
    assert inspected(tmp_path / "raw", "raw").virtual_bytes == 1 << 20
    with pytest.raises(RefusedFileError, match="where vhd was expected"):
        inspected(made(tmp_path / "q"), "vhd")


def test_hostile_qcow2(tmp_path: Path) -> None:
    for number, (at, content, words) in enumerate(
        [
            (8, struct.pack(">QI", 104, 11), "backing file"),
            (72, struct.pack(">Q", 4), "external file"),
            (72, struct.pack(">Q", 2), "corrupt"),
            (20, struct.pack(">I", 40), "clusters"),
            (32, struct.pack(">I", 2), "encrypted"),
            (4, struct.pack(">I", 9), "version"),
            (24, struct.pack(">Q", 1 << 60), r"qemu-img|allowed"),
            (112, struct.pack(">II", 0x44415441, 11), "another file"),
            (40, struct.pack(">Q", 0xFFFFFFFFFFFF0000), "qemu-img"),
        ]
    ):
        path = edited(made(tmp_path / str(number)), at, content)
        with pytest.raises(RefusedFileError, match=words):
            inspected(path)
    with pytest.raises(RefusedFileError, match="backing"):
        inspected(made(tmp_path / "b", "-b", "/etc/passwd", "-F", "raw"))
    with pytest.raises(RefusedFileError, match="external"):
        inspected(made(tmp_path / "d", "-o", f"data_file={tmp_path / 'data'}"))
    with pytest.raises(RefusedFileError, match="allowed"):
        inspected(made(tmp_path / "large", size="2T"))
    (tmp_path / "short").write_bytes(b"QFI\xfb" + bytes(20))
    with pytest.raises(RefusedFileError, match="cut off"):
        inspected(tmp_path / "short")


def test_hostile_vmdk(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match="points to other files"):
        inspected(made(tmp_path / "flat.vmdk", "-o", "subformat=monolithicFlat", kind="vmdk"))
    changes: list[Callable[[bytes], bytes]] = [
        lambda text: text.replace(b'"monolithicSparse"', b'"vmfs"            '),
        lambda text: text.replace(b"SPARSE", b"FLAT  "),
        lambda text: text.replace(b"parentCID=ffffffff", b"parentCID=12345678"),
        lambda text: text.replace(b'"disk.vmdk"', b'"/etc/passw'[:10] + b'"'),
    ]
    for number, change in enumerate(changes):
        (tmp_path / str(number)).mkdir()
        path = made(tmp_path / str(number) / "disk.vmdk", kind="vmdk")
        before = path.read_bytes()
        path.write_bytes(change(before))
        assert path.read_bytes() != before, number
        with pytest.raises(RefusedFileError, match="VMDK"):
            inspected(path)


def test_vhd_that_leads_elsewhere_or_is_cut_off(tmp_path: Path) -> None:
    path = made(tmp_path / "vhd", kind="vpc")
    footer = path.stat().st_size - 512
    with pytest.raises(RefusedFileError, match="parent"):
        inspected(edited(path, footer + 60, struct.pack(">I", 4)))
    path = made(tmp_path / "cut", kind="vpc")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(RefusedFileError, match="cut off"):
        inspected(path)


def archive(path: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w") as target:
        for name, content in members:
            item = tarfile.TarInfo(name)
            item.size, item.type = len(content), kind
            if kind == tarfile.SYMTYPE:
                item.linkname, item.size = "/etc/passwd", 0
            target.addfile(item, io.BytesIO(content))
    return path


def ova(path: Path, text: str, *further: tuple[str, bytes]) -> Path:
    return archive(path, ("web.ovf", text.encode()), *further)


def test_an_ova(tmp_path: Path) -> None:
    found = inspected(ova(tmp_path / "ova", OVF % ("disk1.vmdk", "20"), ("disk1.vmdk", b"KDMV")))
    assert (found.format, found.virtual_bytes) == ("ova", 20 << 30)
    assert [disk.member for disk in found.disks] == ["disk1.vmdk"]
    assert found.properties == {"ovf.system": "web"}


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "a\\..\\b", "folder/disk1.vmdk"])
def test_an_ova_that_leaves_its_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedFileError, match=r"elsewhere|in a directory"):
        inspected(ova(tmp_path / "ova", OVF % (name, "20"), (name, b"KDMV")))


def test_hostile_descriptors(tmp_path: Path) -> None:
    disk = ("disk1.vmdk", b"KDMV")
    entity = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + OVF.split("\n", 1)[1]
    for text, words in [
        (entity % ("disk1.vmdk", "1"), "entities"),
        ((OVF % ("disk1.vmdk", "1"))[:-20], "no XML"),
        (OVF % ("https://elsewhere/disk", "1"), "isn't in it"),
        (OVF % ("disk1.vmdk", "1152921504606846976"), "allowed"),
        (OVF % ("disk1.vmdk", "-1"), "capacity"),
    ]:
        with pytest.raises(RefusedFileError, match=words):
            inspected(ova(tmp_path / "ova", text, disk))


def test_hostile_archives(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match="links"):
        inspected(archive(tmp_path / "a", ("link", b""), kind=tarfile.SYMTYPE))
    with pytest.raises(RefusedFileError, match="more than 10"):
        inspected(archive(tmp_path / "b", *((str(number), b"") for number in range(11))))
    with pytest.raises(RefusedFileError, match="twice"):
        inspected(archive(tmp_path / "c", ("a", b"1"), ("a", b"2")))
    path = archive(tmp_path / "d", ("a", bytes(100_000)))
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(RefusedFileError):
        inspected(path)


@pytest.mark.parametrize("target", ["raw", "qcow2", "vhd", "vmdk"])
def test_conversion(tmp_path: Path, target: Format) -> None:
    content = b"\0" * 510 + b"\x55\xaa" + bytes(range(256)) * 4096
    (tmp_path / "source").write_bytes(content)
    source: Format = "raw"
    if target == "raw":
        converted(tmp_path / "source", tmp_path / "q", from_format="raw", to_format="qcow2", compress=True,
                  file_bytes=_TIB, watch=lambda: None)  # fmt: skip
        (tmp_path / "q").replace(tmp_path / "source")
        source = "qcow2"
    converted(tmp_path / "source", tmp_path / "target", from_format=source, to_format=target, compress=False,
              file_bytes=_TIB, watch=lambda: None)  # fmt: skip
    assert inspected(tmp_path / "target").format == target
    driver = {"vhd": "vpc"}.get(target, target)
    back = ["qemu-img", "convert", "-f", driver, "-O", "raw", tmp_path / "target", tmp_path / "back"]
    subprocess.run(back, check=True)
    assert (tmp_path / "back").read_bytes()[: len(content)] == content


def test_a_full_target_ends_a_conversion(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"\1" * (4 << 20))
    with pytest.raises(RefusedFileError):
        converted(tmp_path / "source", tmp_path / "target", from_format="raw", to_format="raw",
                  compress=False, file_bytes=1 << 16, watch=lambda: None)  # fmt: skip


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "open('/etc/passwd').read()",
        "open('{place}/secret').read()",
        "open('{place}/new', 'w')",
        "open('{place}/allowed', 'w')",
        "import os; os.kill(1, 0)",
        "import os; os.unlink('{place}/allowed')",
        "x = bytes(8 << 30)",
    ],
)
def test_what_is_confined_can_do_nothing(tmp_path: Path, attempt: str) -> None:
    for name in ("secret", "allowed"):
        (tmp_path / name).write_text("text")
    program = ["python3", "-c", attempt.format(place=tmp_path)]
    with pytest.raises(RefusedFileError, match="Error"):
        sandbox.run(program, reads=[tmp_path / "allowed"], seconds=10)
    allowed = ["python3", "-c", f"print(open('{tmp_path}/allowed').read())"]
    assert sandbox.run(allowed, reads=[tmp_path / "allowed"], seconds=10) == b"text\n"
