"""The initrd: one program, one script, and the drivers of root file systems and links."""

from collections.abc import Iterator
from pathlib import Path

from images import modules
from images.boot import Boot
from images.layer import place
from images.recipe import HERE

INIT = HERE / "machine" / "init"
DRIVERS = HERE / "machine" / "modules-early"


def make(boot: Boot, *, busybox: Path, scratch: Path, epoch: int) -> Path:
    """An initrd of the program `busybox`, made in the directory `scratch`. Raises RuntimeError."""
    files = scratch / "files"
    place(busybox, files / "bin/busybox")
    place(INIT, files / "init")
    (files / "init").chmod(0o755)
    modules.install(boot, DRIVERS, files)
    archive = scratch / "initrd.cpio"
    with archive.open("wb") as out:
        for part in cpio(files, epoch=epoch):
            out.write(part)
    compressed = scratch / "initrd"
    boot.run("usr/bin/zstd", "--quiet", "-19", "--single-thread", archive, "-o", compressed)
    return compressed


def cpio(tree: Path, *, epoch: int) -> Iterator[bytes]:
    """The tree as the kernel's newc archive (Documentation/driver-api/early-userspace/buffer-format.rst).

    All is root's, and of the time `epoch`, so that the same files give the same bytes.
    """
    paths = sorted(tree.rglob("*"))
    for number, path in enumerate(paths, start=1):
        content = b""
        if path.is_symlink():
            mode, content = 0o120777, str(path.readlink()).encode()
        elif path.is_dir():
            mode = 0o040755
        else:
            mode, content = 0o100000 | (path.stat().st_mode & 0o755), path.read_bytes()
        yield entry(str(path.relative_to(tree)), number, mode, epoch, content)
    yield entry("TRAILER!!!", 0, 0, 0, b"")


def entry(name: str, number: int, mode: int, epoch: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, epoch, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return padded(head) + padded(content)


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)
