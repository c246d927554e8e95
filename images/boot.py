"""The boot layer: Debian's kernel and boot loaders, and the tools that make a disk of them.

The tools are Debian 13's too, extracted and not installed, and run through their own dynamic linker: so
the bytes of a disk don't depend on what the build machine has.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from images import packages
from images.digest import of_text
from images.layer import Progress, layer
from images.recipe import SUITE

# The full flavour: the cloud flavour has no PPP and no L2TP.
KERNEL = "linux-image-amd64"
SHIPPED = ("syslinux", "syslinux-common", "systemd-boot-efi")
"""What is on the EFI system partition, beside the kernel."""
TOOLS = ("dosfstools", "e2fsprogs", "fdisk", "kmod", "mtools", "zstd")
CONTROLS = "controls"
"""In the layer: the control file of each extracted package (deb-control(5))."""


@dataclass(frozen=True, slots=True)
class Boot:
    """The boot layer, for use."""

    tree: Path

    @property
    def kernel(self) -> Path:
        (kernel,) = (self.tree / "boot").glob("vmlinuz-*")
        return kernel

    @property
    def kernel_version(self) -> str:
        return self.kernel.name.removeprefix("vmlinuz-")

    @property
    def epoch(self) -> int:
        """When Debian built the kernel, in seconds since 1970."""
        return int(self.kernel.stat().st_mtime)

    def controls(self) -> dict[str, str]:
        """The control file of each package that is in an image: the kernel's, and the boot loaders'."""
        wanted = {f"linux-image-{self.kernel_version}", *SHIPPED}
        return {name: (self.tree / CONTROLS / name).read_text() for name in sorted(wanted)}

    def argv(self, program: str) -> list[Path | str]:
        libraries = self.tree / "usr/lib/x86_64-linux-gnu"
        linker = self.tree / "usr/lib64/ld-linux-x86-64.so.2"
        return [linker, "--library-path", libraries, self.tree / program]

    def run(
        self,
        program: str,
        *arguments: str | Path | int,
        given: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a tool of the layer (`usr/sbin/mke2fs`) and return what it prints.

        Raises RuntimeError with its words when it fails.
        """
        return run(
            [*self.argv(program), *arguments],
            given=given,
            environment={"MKE2FS_CONFIG": str(self.tree / "etc/mke2fs.conf"), **(environment or {})},
        )


def run(
    argv: Sequence[str | Path | int],
    *,
    given: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a tool and return what it prints. Raises RuntimeError with its words when it fails."""
    words = [str(word) for word in argv]
    ran = subprocess.run(
        words,
        input=given or "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(environment or {})},
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}\nended with status {ran.returncode}:\n{ran.stdout}")
    return ran.stdout


def options() -> list[str]:
    # While the archives of the packages are still there.
    keep_controls = (
        f'mkdir "$1"/{CONTROLS} && for deb in "$1"/var/cache/apt/archives/*.deb; do '
        f'dpkg-deb --field "$deb" > "$1/{CONTROLS}/$(dpkg-deb --field "$deb" Package)"; done'
    )
    return [*packages.options(variant="extract"), f"--extract-hook={keep_controls}"]


def build(*, cache: Path, progress: Progress) -> Boot:
    """The boot layer, from the cache or made."""
    wanted = (KERNEL, *SHIPPED, *TOOLS)

    def extract(tree: Path) -> None:
        progress("extracting kernel and boot loaders")
        packages.bootstrap(tree, wanted, options=options())
        # depmod looks in /lib, which only an installed system merges with /usr/lib.
        (tree / "lib").symlink_to("usr/lib")
        made = Boot(tree)
        made.run("usr/sbin/depmod", "--basedir", tree, made.kernel_version)

    return Boot(layer(cache, f"boot-{of_text(SUITE, *options(), *wanted)}", extract))
