"""A guest's image boots under each firmware, with its own root file system to write, grown to the disk."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from images.image import build
from images.step import Steps
from images.tree import default_cache
from tests.vm.conftest import needs_qemu
from tests.vm.emulated import Emulated, together

USER_DATA = """#cloud-config
runcmd:
  - echo "$(df --output=size -BM / | tail -n 1) in all, $(ls -d /sys/firmware/efi)" >/dev/console
"""


def test_a_guest_starts_cloud_init_and_grows_its_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, as trees do")
    needs_qemu()
    # cloud-init's NoCloud data source: a disk labelled CIDATA.
    seed = tmp_path / "seed.img"
    with seed.open("wb") as out:
        out.truncate(2 * 1024 * 1024)
    subprocess.run(["mkfs.fat", "-n", "CIDATA", seed], check=True, stdout=subprocess.DEVNULL)
    for name, text in (("meta-data", "instance-id: i-1\n"), ("user-data", USER_DATA)):
        (tmp_path / name).write_text(text)
        subprocess.run(["mcopy", "-i", seed, tmp_path / name, f"::/{name}"], check=True)
    steps = Steps(log=tmp_path / "log")
    image = build("guest", out=tmp_path, cache=default_cache(), steps=steps, formats=["qcow2"])
    guests: list[Emulated] = []
    for firmware in ("bios", "uefi"):
        directory = tmp_path / firmware
        directory.mkdir()
        guests.append(Emulated(directory, image.directory / "sysvm-guest.qcow2", size="3G"))
    uefi = guests[-1]
    try:
        for guest in guests:
            shared = f"file={seed},format=raw,if=virtio,readonly=on"
            guest.start("-drive", shared, smbios=False, uefi=guest is uefi)
        together(*(lambda guest=guest: guest.wait_for("M in all") for guest in guests))  # type: ignore[misc]
        together(*(lambda guest=guest: guest.wait_for(" login:") for guest in guests))  # type: ignore[misc]
    finally:
        for guest in guests:
            guest.cut_power()
    for guest in guests:
        ((size, firmware),) = re.findall(r"(\d+)M in all, (\S*)", guest.console)
        assert int(size) > 2500
        assert firmware == ("/sys/firmware/efi" if guest is uefi else "")
