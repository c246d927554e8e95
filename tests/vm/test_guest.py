"""A guest's image boots, with its own root file system to write, grown to the disk."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from images.image import build
from images.step import Steps
from images.tree import default_cache
from tests.vm.emulated import Emulated

USER_DATA = """#cloud-config
runcmd:
  - echo "$(df --output=size --block-size=1M / | tail -n 1) MB in all" >/dev/console
"""


def test_a_guest_starts_cloud_init_and_grows_its_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, as trees do")
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("there is no qemu-system-x86_64 here")
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
    guest = Emulated(tmp_path, image.directory / "sysvm-guest.qcow2", size="3G")
    try:
        guest.start("-drive", f"file={seed},format=raw,if=virtio", smbios=False)
        guest.wait_for("MB in all")
        (size,) = re.findall(r"(\d+) MB in all", guest.console)
        assert int(size) > 2500
        guest.wait_for(" login:")
    finally:
        guest.cut_power()
