"""Packed files unpacked as a stream: to a limit, and with holes where there are only zeros."""

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from secstorage.formats import sandbox
from secstorage.formats.format import Packing, RefusedFileError

_PIECE = 1 << 20
_BLOCK = 1 << 16
_PROGRAMS: dict[Packing, tuple[str, ...]] = {
    "gzip": ("gzip", "-dc"),
    "xz": ("xz", "-dc", "--memlimit-decompress=512MiB"),
    "bzip2": ("bzip2", "-dc"),
    "zstd": ("zstd", "-dc", "--memory=512MB"),
}
_SECONDS = 24 * 3600
_ALLOWANCE = 64 << 20
"""So much a file may unpack to whatever its size is: one of zeros is all expansion."""


def unpacked(
    source: Path,
    target: Path,
    packing: Packing,
    *,
    file_bytes: int,
    expansion: int,
    told: Callable[[int], None],
) -> int:
    """Write `target`, to the disk; returns its bytes. `told` is how many there are by now, and raises
    what ends the job. Raises RefusedFileError where more than `file_bytes` come out, or more
    than `expansion` times what is packed."""
    most = min(file_bytes, max(_ALLOWANCE, source.stat().st_size * expansion))
    count = 0
    with _opened(source, packing) as stream, target.open("wb") as file:
        while piece := stream.read(_PIECE):
            count += len(piece)
            if count > most:
                raise RefusedFileError(f"It unpacks to more than {most} bytes")
            write_sparse(file, piece)
            told(count)
        file.truncate(count)
        file.flush()
        os.fsync(file.fileno())
    return count


def write_sparse(file: IO[bytes], piece: bytes) -> None:
    """Append; what is only zeros becomes a hole. The file has to be truncated to its length in the end."""
    if len(piece) < _BLOCK or not _has_zeros(piece):
        file.write(piece)
        return
    for at in range(0, len(piece), _BLOCK):
        block = piece[at : at + _BLOCK]
        if block.count(0) == len(block):
            file.seek(len(block), os.SEEK_CUR)
        else:
            file.write(block)


_ZEROS = bytes(_BLOCK)


def _has_zeros(piece: bytes) -> bool:
    return _ZEROS in piece


@contextmanager
def _opened(source: Path, packing: Packing) -> Iterator[IO[bytes]]:
    if packing != "zip":
        with source.open("rb") as file, sandbox.piped(_PROGRAMS[packing], file, seconds=_SECONDS) as stream:
            yield stream
        return
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise RefusedFileError(f"A zip file has one file in it, not {len(members)}")
            with archive.open(members[0]) as member:
                yield member
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise RefusedFileError(f"zip: {error}") from None
