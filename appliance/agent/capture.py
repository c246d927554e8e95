"""Packets of a link as a pcap stream, from tcpdump(8): it compiles the filter, and drops its privileges."""

import contextlib
import ipaddress
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Annotated

from pydantic import Field

from appliance.address import InterfaceName
from appliance.boot import CONTROL_LINK
from appliance.model import Model

CONTENT_TYPE = "application/vnd.tcpdump.pcap"
_FILE_HEADER, _RECORD_HEADER = 24, 16
_LITTLE, _BIG = b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4"
_SECONDS = 10.0
_ESTABLISHED = "01"
_AT_ONCE = threading.BoundedSemaphore(2)


class Capture(Model):
    link: InterfaceName
    filter: Annotated[str, Field(max_length=1024, pattern=r"^[\x20-\x7e]*$")] = ""
    """pcap-filter(7); empty: all packets."""
    packets: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    seconds: Annotated[int, Field(ge=1, le=600)] = 30
    bytes: Annotated[int, Field(ge=1024, le=1 << 28)] = 1 << 24
    """Of the file; no packet is cut for it."""
    snap_length: Annotated[int, Field(ge=64, le=65535)] = 65535
    """Bytes of each packet."""


class CaptureError(ValueError):
    """A link or filter that there can be no capture of; a sentence."""


class BusyError(Exception):
    """There are as many captures as there may be."""


def begun(asked: Capture, heard: Callable[[], bool] = lambda: True) -> Iterator[bytes]:
    """The file, piece by piece, until the first of the limits, or until nobody hears it any more. Raises
    CaptureError and BusyError before the first piece. Closing the iterator ends the capture, too."""
    if asked.link == CONTROL_LINK:
        raise CaptureError(f"{CONTROL_LINK} carries the capture itself")
    if asked.link not in {name for _, name in socket.if_nameindex()}:
        raise CaptureError(f"There is no link {asked.link}")
    _check(asked)
    if not _AT_ONCE.acquire(blocking=False):
        raise BusyError("Two captures run already; end one of them first")
    pieces = _captured(asked, heard)
    next(pieces)
    return pieces


def _check(asked: Capture) -> None:
    done = subprocess.run(
        ["tcpdump", "-d", "-i", asked.link, "--", asked.filter],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise CaptureError(f"The filter is none: {(words or ['refused'])[-1].removeprefix('tcpdump: ')}")


def listener(address: str, port: str) -> Callable[[], bool]:
    """Tells whether a connection with this peer is open still: who has hung up reads nothing, and the server
    that we hand the pieces to doesn't tell. Where there is none to begin with (it is another's translation
    that we see, or nothing was said), always."""
    if port.isascii() and port.isdigit() and 0 < int(port) < 65536 and hears(address, int(port)):
        return partial(hears, address, int(port))
    return lambda: True


def hears(address: str, port: int) -> bool:
    """Whether a connection with this peer is open."""
    packed = ipaddress.ip_address(address).packed
    words = struct.unpack(f">{len(packed) // 4}I", packed)
    # proc(5): the address as numbers of 32 bits in the machine's own order, then the port, then the state.
    peer = f"{''.join(f'{socket.htonl(word):08X}' for word in words)}:{port:04X}"
    listing = Path("/proc/net/tcp6" if len(words) == 4 else "/proc/net/tcp").read_text().splitlines()
    return any(fields[2] == peer and fields[3] == _ESTABLISHED for fields in map(str.split, listing[1:]))


def _captured(asked: Capture, heard: Callable[[], bool]) -> Iterator[bytes]:
    # fmt: off
    argv = [
        "tcpdump", "-i", asked.link, "-n", "-q", "-U", "--immediate-mode", "-s", str(asked.snap_length),
        "-c", str(asked.packets), "-Z", "tcpdump", "-w", "-", "--", asked.filter,
    ]
    # fmt: on
    try:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            ended = threading.Event()
            watch = (process, ended, asked.seconds, heard)
            threading.Thread(target=_watch, args=watch, daemon=True).start()
            try:
                # Begun, and not yet waiting for a packet.
                yield b""
                if process.stdout is not None:
                    yield from _records(process.stdout, asked.bytes)
            finally:
                ended.set()
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
    finally:
        _AT_ONCE.release()


def _watch(
    process: subprocess.Popen[bytes], ended: threading.Event, seconds: float, heard: Callable[[], bool]
) -> None:
    deadline = time.monotonic() + seconds
    while not ended.wait(min(1.0, max(0.0, deadline - time.monotonic()))):
        if time.monotonic() >= deadline or not heard():
            process.terminate()
            return


def _records(stream: IO[bytes], most: int) -> Iterator[bytes]:
    """Whole packets only, so that what is cut short is a file all the same."""
    header = stream.read(_FILE_HEADER)
    if len(header) < _FILE_HEADER:
        return
    yield header
    order = {_LITTLE: "<", _BIG: ">"}[header[:4]]
    total = _FILE_HEADER
    while len(record := stream.read(_RECORD_HEADER)) == _RECORD_HEADER:
        length = struct.unpack_from(f"{order}I", record, 8)[0]
        content = stream.read(length)
        total += _RECORD_HEADER + length
        if len(content) < length or total > most:
            return
        yield record + content
