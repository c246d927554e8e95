"""The EFI system partition: one kernel and one initrd, for UEFI by systemd-boot and for BIOS by syslinux."""

import os
import uuid
from pathlib import Path

from images.boot import Boot
from images.layer import place

MIB = 1024 * 1024
SIZE = 48 * MIB
"""FAT32 needs 65,525 clusters, of one sector each here."""
_SECTOR = 512
LOADER = "timeout 0\neditor no\n"
ENTRY = "title sysvm\nlinux /vmlinuz\ninitrd /initrd\noptions {options}\n"
# The serial port's prompt is ours alone: a key that noise presses must not stop the boot.
SYSLINUX = """\
SERIAL 0 115200
PROMPT 0
NOESCAPE 1
DEFAULT sysvm
LABEL sysvm
  LINUX /vmlinuz
  INITRD /initrd
  APPEND {options}
"""


def write(
    boot: Boot,
    disk: Path,
    *,
    offset: int,
    initrd: Path,
    options: str,
    scratch: Path,
    epoch: int,
    key: uuid.UUID,
) -> None:
    """Write the file system into `disk`, `offset` bytes from its start. `options` are the kernel's.

    Raises RuntimeError with the words of the tool that failed.
    """
    files = scratch / "esp"
    place(boot.kernel, files / "vmlinuz")
    place(initrd, files / "initrd")
    place(
        boot.tree / "usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        files / "EFI/BOOT/BOOTX64.EFI",
    )
    for name, text in (
        ("loader/loader.conf", LOADER),
        ("loader/entries/sysvm.conf", ENTRY.format(options=options)),
        ("syslinux/syslinux.cfg", SYSLINUX.format(options=options)),
    ):
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text(text)
    # fmt: off
    boot.run(
        "usr/sbin/mkfs.fat", "-F", "32", "-s", "1", "-n", "SYSVM-ESP", "-i", key.hex[:8], "--invariant",
        "-h", offset // _SECTOR, "--offset", offset // _SECTOR, disk, SIZE // 1024,
    )
    # fmt: on
    where = f"{disk}@@{offset}"
    environment = mtools(boot, scratch, epoch=epoch)
    for path in sorted(files.rglob("*")):
        os.utime(path, (epoch, epoch))
        inside = f"::/{path.relative_to(files)}"
        if path.is_dir():
            boot.run("usr/bin/mmd", "-i", where, inside, environment=environment)
        else:
            boot.run("usr/bin/mcopy", "-m", "-i", where, path, inside, environment=environment)
    boot.run(
        "usr/bin/syslinux",
        *("--install", "--directory", "syslinux", "--offset", offset, disk),
        environment=environment,
    )
    # The boot code of the protective MBR starts the partition that is marked for BIOS.
    with disk.open("r+b") as out:
        out.write((boot.tree / "usr/lib/syslinux/mbr/gptmbr.bin").read_bytes()[:440])


def mtools(boot: Boot, scratch: Path, *, epoch: int) -> dict[str, str]:
    """An environment in which mtools are reproducible, and those that syslinux calls are the layer's."""
    commands = scratch / "commands"
    commands.mkdir()
    for name in ("mattrib", "mcopy", "mmove"):
        command = commands / name
        argv = " ".join(f'"{word}"' for word in boot.argv(f"usr/bin/{name}"))
        command.write_text(f'#!/bin/sh\nexec {argv} "$@"\n')
        command.chmod(0o755)
    return {
        "SOURCE_DATE_EPOCH": str(epoch),
        "MTOOLS_SKIP_CHECK": "1",
        "MTOOLSRC": "/dev/null",
        "PATH": f"{commands}:{os.environ['PATH']}",
    }
