"""Kernel modules: those of a list, and what they depend on."""

import lzma
import os
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from images.boot import Boot
from images.layer import place
from images.recipe import listed

PLACE = Path("usr/lib/modules")


def install(boot: Boot, patterns: Path, tree: Path) -> None:
    """Put the kernel modules that the list file `patterns` names into the empty `tree`, with their index.

    Uncompressed: to unpack them takes seconds of a boot on a slow machine, and images are compressed
    themselves. Raises RuntimeError for a pattern that matches nothing: a module that was renamed must not
    get lost.
    """
    source = boot.tree / PLACE / boot.kernel_version
    target = tree / PLACE / boot.kernel_version
    for name in sorted(chosen(source, listed(patterns.read_text()))):
        module = target / name
        place(source / name, module)
        module.with_suffix("").write_bytes(lzma.decompress(module.read_bytes()))
        module.unlink()
    for index in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        place(source / index, target / index)
    # depmod and busybox look in /lib.
    (tree / "lib").symlink_to("usr/lib")
    boot.run("usr/sbin/depmod", "--basedir", tree, boot.kernel_version)
    # The files are hard links in images of different times: each must find them as old as it wants. And read
    # later than all of these, or the first image would have another time of access than the next.
    for path in tree.rglob("*"):
        os.utime(path, (time.time(), boot.epoch), follow_symlinks=False)


def chosen(source: Path, patterns: list[str]) -> set[str]:
    """The modules' paths below `source`."""
    depends = dict(dependencies(source / "modules.dep"))
    builtin = (source / "modules.builtin").read_text().split()
    found: set[str] = set()
    for pattern in patterns:
        whole = f"kernel/{pattern}.ko"
        matches = {name for name in depends if fnmatch(name, whole + ".xz")}
        if not matches and not any(fnmatch(name, whole) for name in builtin):
            raise RuntimeError(f"No kernel module is called {pattern}")
        for name in matches:
            found |= {name, *depends[name]}
    return found


def dependencies(index: Path) -> Iterator[tuple[str, list[str]]]:
    """The lines of a modules.dep(5), which lists dependencies of dependencies too."""
    for line in index.read_text().splitlines():
        name, _, needs = line.partition(":")
        yield name, needs.split()
