"""Dynamic VHD for XenServer and Hyper-V, with nothing in it that is different each time."""

import struct
import uuid
from pathlib import Path

from images.boot import run

_FOOTER = 512
_TIMESTAMP = 24
_CHECKSUM = 64
_UNIQUE_ID = 68
_EPOCH_2000 = 946684800


def write(raw: Path, target: Path, *, key: uuid.UUID, epoch: int) -> None:
    """Convert. Raises RuntimeError with qemu-img's words.

    With `force_size` the disk is as long as the raw one; else it is rounded to cylinders, and a GPT no
    longer ends where the disk does.
    """
    options = "subformat=dynamic,force_size=on"
    run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, raw, target])
    with target.open("r+b") as out:
        out.seek(-_FOOTER, 2)
        footer = out.read(_FOOTER)
        settled = settle(footer, key=key, epoch=epoch)
        # The footer is at the end, and a copy of it at the start.
        for place, whence in ((-_FOOTER, 2), (0, 0)):
            out.seek(place, whence)
            out.write(settled)


def settle(footer: bytes, *, key: uuid.UUID, epoch: int) -> bytes:
    """The footer with this time and identity (Virtual Hard Disk Image Format Specification, 1.0)."""
    settled = bytearray(footer)
    struct.pack_into(">I", settled, _TIMESTAMP, epoch - _EPOCH_2000)
    settled[_UNIQUE_ID : _UNIQUE_ID + 16] = key.bytes
    struct.pack_into(">I", settled, _CHECKSUM, 0)
    struct.pack_into(">I", settled, _CHECKSUM, ~sum(settled) & 0xFFFFFFFF)
    return bytes(settled)
