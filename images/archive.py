"""Archives: the same files, the same bytes."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path


def tree(source: Path, target: Path, *, epoch: int) -> None:
    """Write a file tree as a compressed tar: sorted, with numeric owners, and nothing newer than `epoch`.

    Raises RuntimeError for a file with extended attributes: container engines don't agree about them.
    """
    with (
        target.open("wb") as out,
        # Python's own gzip: one thread, no file name, and a time that is ours.
        gzip.GzipFile(fileobj=out, filename="", mode="wb", compresslevel=6, mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        links: dict[int, str] = {}
        for path in walked(source):
            status = path.lstat()
            entry = tarfile.TarInfo(str(path.relative_to(source)))
            entry.uid, entry.gid = status.st_uid, status.st_gid
            entry.mode = stat.S_IMODE(status.st_mode)
            entry.mtime = min(int(status.st_mtime), epoch)
            if stat.S_ISDIR(status.st_mode):
                entry.type = tarfile.DIRTYPE
                entry.mtime = epoch
                tar.addfile(entry)
            elif stat.S_ISLNK(status.st_mode):
                entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(entry)
            elif stat.S_ISREG(status.st_mode):
                if os.listxattr(path):
                    raise RuntimeError(f"{path} has extended attributes")
                if status.st_ino in links:
                    entry.type, entry.linkname = tarfile.LNKTYPE, links[status.st_ino]
                    tar.addfile(entry)
                    continue
                links[status.st_ino] = entry.name
                entry.size = status.st_size
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            # Devices are whoever runs the tree's to make.


def walked(source: Path) -> Iterator[Path]:
    """All below `source`, in a fixed order, directories before what is in them."""
    for directory, names, leaves in os.walk(source):
        names.sort()
        linked = [name for name in names if (Path(directory) / name).is_symlink()]
        for name in sorted([*leaves, *linked]):
            yield Path(directory) / name
        for name in names:
            if name not in linked:
                yield Path(directory) / name


def bundle(target: Path, files: Iterable[tuple[str, bytes | Path]], *, epoch: int) -> None:
    """Write an uncompressed tar of these files, in this order."""
    with tarfile.open(target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.mtime = 0o644, epoch
            if isinstance(content, bytes):
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.size = content.stat().st_size
                with content.open("rb") as opened:
                    tar.addfile(entry, opened)


def digest(content: bytes | Path) -> str:
    """SHA-256, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def digest_uncompressed(archive: Path) -> str:
    """SHA-256 of what a compressed file holds."""
    found = hashlib.sha256()
    with gzip.open(archive, "rb") as content:
        while chunk := content.read(1024 * 1024):
            found.update(chunk)
    return found.hexdigest()
