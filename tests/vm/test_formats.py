"""What is written beside the raw disk is the same disk, or the same tree; and sums and lists are true."""

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from images.image import SUMS, Image
from images.image import build as build_image
from images.step import Steps
from tests.vm.emulated import Emulated

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"


def shipped(image: Image, suffix: str) -> Path:
    return image.directory / f"sysvm-router.{suffix}"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize(("suffix", "kind"), [("qcow2", "qcow2"), ("vhd", "vpc"), ("vmdk", "vmdk")])
def test_every_disk_is_the_raw_one(image: Image, suffix: str, kind: str) -> None:
    raw, converted = shipped(image, "raw"), shipped(image, suffix)
    subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", kind, raw, converted], check=True)
    # A GPT has a copy at the very end.
    described = subprocess.run(
        ["qemu-img", "info", "--output=json", converted], check=True, capture_output=True
    )
    assert json.loads(described.stdout)["virtual-size"] == raw.stat().st_size


def test_sizes_are_kept(image: Image) -> None:
    assert shipped(image, "qcow2").stat().st_size <= 150e6
    assert image.unpacked <= 350e6


def test_sums_are_true(image: Image) -> None:
    subprocess.run(["sha256sum", "--quiet", "--check", SUMS], check=True, cwd=image.directory)
    listed = {line.split()[1] for line in (image.directory / SUMS).read_text().splitlines()}
    assert listed == {path.name for path in image.directory.iterdir()} - {SUMS}


def test_the_ova_is_a_descriptor_its_sums_and_the_disk(image: Image) -> None:
    with tarfile.open(shipped(image, "ova")) as ova:
        names = ova.getnames()
        contents = {member.name: member for member in ova.getmembers()}
        read = {name: ova.extractfile(contents[name]) for name in names}
        texts = {name: file.read() for name, file in read.items() if file is not None}
    # The descriptor must come first: importers read it from a stream.
    assert names == ["sysvm-router.ovf", "sysvm-router.mf", "sysvm-router.vmdk"]
    for line in texts["sysvm-router.mf"].decode().splitlines():
        name, _, digest = line.removeprefix("SHA256(").partition(")= ")
        assert hashlib.sha256(texts[name]).hexdigest() == digest
    descriptor = ElementTree.fromstring(texts["sysvm-router.ovf"])
    (disk,) = descriptor.iter(f"{OVF}Disk")
    assert int(disk.attrib[f"{OVF}capacity"]) == shipped(image, "raw").stat().st_size
    (file,) = descriptor.iter(f"{OVF}File")
    assert file.attrib[f"{OVF}href"] == "sysvm-router.vmdk"


def test_the_container_image_says_what_its_blobs_are(image: Image, tmp_path: Path) -> None:
    with tarfile.open(shipped(image, "oci.tar")) as tar:
        tar.extractall(tmp_path)

    def blob(descriptor: Any) -> Path:
        path: Path = tmp_path / "blobs" / descriptor["digest"].replace(":", "/")
        with path.open("rb") as opened:
            assert f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}" == descriptor["digest"]
        assert path.stat().st_size == descriptor["size"]
        return path

    manifest = read_json(blob(read_json(tmp_path / "index.json")["manifests"][0]))
    config = read_json(blob(manifest["config"]))
    layer = blob(manifest["layers"][0])
    content = subprocess.run(["gzip", "-dc", layer], check=True, stdout=subprocess.PIPE).stdout
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content).hexdigest()}"]
    (docker,) = read_json(tmp_path / "manifest.json")
    assert (tmp_path / docker["Layers"][0]).samefile(layer)


def test_the_bill_of_materials_is_what_is_installed(image: Image, running: Emulated) -> None:
    bill = read_json(shipped(image, "machine.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(references) == len(set(references))
    listed = {(component["name"], component["version"]) for component in bill["components"]}
    packages = running.run("dpkg-query", "--show", "--showformat=${Package} ${Version}\n")
    # Who imports it is asked, not its files.
    ask = "for d in m.distributions(path=['/usr/lib/sysvm']): print(d.name, d.version)"
    ask = f"import importlib.metadata as m\n{ask}"
    libraries = running.run("/usr/bin/python3", "-c", ask).lower().replace("_", "-")
    installed = {tuple(line.split()) for line in (packages + libraries).splitlines()}
    assert listed == installed
    kernel = running.run("uname", "-r").strip()
    assert any(name == f"linux-image-{kernel}" for name, _ in listed)
    manifest = read_json(shipped(image, "machine.manifest.json"))
    assert {*manifest["packages"].items(), *manifest["python"].items()} == listed


def test_the_same_inputs_give_the_same_bytes(image: Image, tmp_path: Path) -> None:
    """From nothing: packages are unpacked, libraries compiled and disks made anew."""
    steps = Steps(log=tmp_path / "log")
    cache = tmp_path / "cache"
    again = build_image("router", out=tmp_path / "out", cache=cache, steps=steps)
    # Drivers are in images of other times too (a guest's), which may make no file of them older.
    (kernel,) = cache.glob("boot-*/boot/vmlinuz-*")
    drivers = [path for layer in cache.glob("drivers-*") for path in (layer / "tree").rglob("*")]
    assert drivers
    assert {path.lstat().st_mtime for path in drivers} == {kernel.stat().st_mtime}
    assert (again.directory / SUMS).read_text() == (image.directory / SUMS).read_text()
