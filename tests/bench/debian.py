"""A bare Debian to compare with: the smallest there is with an init, the kernel that our images have, and
Debian's own initrd; on a disk that our builder makes, so that it starts by the same firmware and loader."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from images import boot, disk, packages
from images.boot import Boot
from images.digest import of_text
from images.layer import layer
from images.tree import default_cache
from tests.bench.benchmark import Say


@dataclass(frozen=True, slots=True)
class Debian:
    loaders: Boot
    tree: Path

    @property
    def initrd(self) -> Path:
        return self.tree / f"boot/initrd.img-{self.loaders.kernel_version}"

    def disk(self, target: Path, *, initrd: Path, scratch: Path) -> Path:
        """A compressed disk image of it, `target`."""
        raw = scratch / "debian.raw"
        identity = disk.Identity(digest=of_text(self.tree.name, initrd.name), epoch=self.loaders.epoch)
        (scratch / target.stem).mkdir()
        disk.make(
            self.loaders,
            raw,
            root=self.tree,
            initrd=initrd,
            appliance=False,
            identity=identity,
            scratch=scratch / target.stem,
        )
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, target], check=True)
        raw.unlink()
        return target


def build(say: Say) -> Debian:
    """From the cache or made; minbase, without what packages only recommend."""
    loaders = boot.build(cache=default_cache(), progress=say)
    # By its version, not by the name that follows Debian: it must be the kernel of our image.
    wanted = ("initramfs-tools", f"linux-image-{loaders.kernel_version}", "systemd-sysv", "udev")
    say("a bare Debian")
    name = f"bench-debian-{packages.key(wanted)}"
    return Debian(loaders, layer(default_cache(), name, packages.fill(wanted)))
