"""The disk: a GPT with the EFI system partition, the root file system, and the appliance's state."""

import math
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from images import esp
from images.boot import Boot

MIB = 1024 * 1024
SIZE = 1024 * MIB
"""What an image is at least. Beyond what the root file system takes, the state partition has it all; that
grows to the disk at each boot."""
_STATE_SIZE = 128 * MIB
_BLOCK = 4096
_FIRST = 1 * MIB
_END = 1 * MIB
_SECTOR = 512
_ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_LINUX_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
# Disks of other origin must not be mounted by what their partitions claim to be; links keep their names
# until the agent gives them others; who boots headless wants a crash to be a reboot.
OPTIONS = "console=tty0 console=ttyS0,115200 net.ifnames=0 systemd.gpt_auto=0 panic=10 quiet loglevel=4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What the names of a disk follow from: the same inputs, the same names."""

    digest: str
    epoch: int
    """Seconds since 1970: no file of the image is newer."""

    def uuid(self, noun: str) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self.digest}/{noun}")

    @property
    def root_label(self) -> str:
        """The root partition's name: a machine with two images' disks must not mix them up."""
        return f"sysvm-root-{self.digest[:12]}"


def make(
    boot: Boot, disk: Path, *, root: Path, initrd: Path, appliance: bool, identity: Identity, scratch: Path
) -> None:
    """Write the file `disk`, raw and sparse. `root` is the tree of the root file system.

    An appliance's root file system is read-only, and a state partition follows it. Raises RuntimeError
    with the words of the tool that failed.
    """
    root_start = _FIRST + esp.SIZE
    root_size = file_system_size(root)
    state_start = root_start + root_size
    size = max(SIZE, state_start + (_STATE_SIZE if appliance else 0) + _END)
    state_size = size - _END - state_start
    if not appliance:
        root_size += state_size
    disk.unlink(missing_ok=True)
    with disk.open("wb") as out:
        out.truncate(size)

    def partition(noun: str, name: str, start: int, length: int, kind: str, attributes: str = "") -> str:
        words = f"start={start // _SECTOR}, size={length // _SECTOR}, type={kind}, name={name}"
        return f"{words}, uuid={identity.uuid(noun)}{attributes}"

    bios = ", attrs=LegacyBIOSBootable"
    table = [
        "label: gpt",
        f"label-id: {identity.uuid('disk')}",
        partition("esp", "sysvm-esp", _FIRST, esp.SIZE, _ESP_TYPE, bios),
        partition("root", identity.root_label, root_start, root_size, _LINUX_TYPE),
    ]
    if appliance:
        table.append(partition("state", "sysvm-state", state_start, state_size, _LINUX_TYPE))
    boot.run("usr/sbin/sfdisk", "--quiet", disk, given="\n".join(table) + "\n")
    esp.write(
        boot,
        disk,
        offset=_FIRST,
        initrd=initrd,
        options=f"root=PARTLABEL={identity.root_label} {'ro' if appliance else 'rw'} {OPTIONS}",
        scratch=scratch,
        epoch=identity.epoch,
        key=identity.uuid("esp file system"),
    )
    # Never written, so without a journal to replay; or a guest's, which is like any other.
    features = "^has_journal,^resize_inode" if appliance else "has_journal"
    ext4(
        boot,
        disk,
        *("-L", "sysvm-root", "-O", features, "-m", "0", "-d", root),
        start=root_start,
        size=root_size,
        identity=identity,
        noun="root file system",
    )
    if appliance:
        ext4(
            boot,
            disk,
            *("-L", "sysvm-state", "-J", "size=8", "-m", "1"),
            start=state_start,
            size=state_size,
            identity=identity,
            noun="state file system",
        )


def ext4(
    boot: Boot, disk: Path, *options: str | Path, start: int, size: int, identity: Identity, noun: str
) -> None:
    key = identity.uuid(noun)
    extended = f"offset={start},hash_seed={key},root_owner=0:0,nodiscard,lazy_itable_init=1"
    # fmt: off
    boot.run(
        "usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-b", _BLOCK, "-U", str(key), "-E", extended, *options,
        disk, size // _BLOCK,
        environment={"SOURCE_DATE_EPOCH": str(identity.epoch)},
    )
    # fmt: on


def file_system_size(tree: Path) -> int:
    """Bytes of an ext4 that holds the tree with little to spare, a whole number of MiB."""
    inodes = blocks = 0
    seen: set[int] = set()
    for directory, names, leaves in os.walk(tree):
        for name in [*names, *leaves]:
            status = os.lstat(Path(directory) / name)
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                inodes += 1
                blocks += max(1, math.ceil(status.st_size / _BLOCK))
    # One inode for each 16 KiB, or as many as there are, of 256 bytes; and 4 % of bitmaps, indexes, slack.
    inodes = max(inodes, blocks * _BLOCK // 16384)
    needed = (blocks * _BLOCK + inodes * 256) * 1.04 + 8 * MIB
    return math.ceil(needed / MIB) * MIB
