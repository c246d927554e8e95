"""WebSocket frames (RFC 6455), without any I/O."""

import base64
import hashlib
import os
from collections.abc import Iterator

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
HEADROOM = 10
"""No header of an unmasked frame is longer."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASK_BLOCK = 65_536


class FrameError(Exception):
    """What the other end sent is no WebSocket frame, or one that isn't taken."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        """The status to close with (RFC 6455, section 7.4.1)."""


def accept(key: str) -> str:
    """`Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def new_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


def header(opcode: int, length: int, *, masked: bool = False) -> bytes:
    """The head of a whole message in one frame; a mask is to follow it."""
    bit = 0x80 if masked else 0
    if length < 126:
        return bytes((0x80 | opcode, bit | length))
    if length < 65_536:
        return bytes((0x80 | opcode, bit | 126)) + length.to_bytes(2)
    return bytes((0x80 | opcode, bit | 127)) + length.to_bytes(8)


def frame(opcode: int, payload: bytes, *, masked: bool = False) -> bytes:
    if not masked:
        return header(opcode, len(payload)) + payload
    mask = os.urandom(4)
    return header(opcode, len(payload), masked=True) + mask + unmasked(payload, mask)


def close(code: int, reason: str = "", *, masked: bool = False) -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason.encode()[:123], masked=masked)


def unmasked(payload: bytes | bytearray | memoryview, mask: bytes) -> bytes:
    """Exclusive or with a mask, which is its own inverse."""
    length = len(payload)
    if length <= _MASK_BLOCK:
        key = (mask * (length // 4 + 1))[:length]
        return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
    # Numbers of this size are quick; larger ones cost more than their share.
    view = memoryview(payload)
    return b"".join(unmasked(view[at : at + _MASK_BLOCK], mask) for at in range(0, length, _MASK_BLOCK))


class Frames:
    """What comes in. Data messages are given as their pieces come: a relay has no use for whole ones.
    Control frames are whole."""

    def __init__(self, *, masked: bool, most: int) -> None:
        """`masked`: whether the other end is a client. `most` bytes may a frame have."""
        self._masked = masked
        self._most = most
        self._buffer = bytearray()
        self._message: int | None = None
        """The opcode of the message that isn't finished."""

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of each frame that is there as a whole; a later piece of a message has the
        opcode of its first. Raises FrameError."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= 2:
                first, second = buffer[at], buffer[at + 1]
                length, start = second & 0x7F, at + 2
                if length == 126:
                    length, start = int.from_bytes(buffer[start : start + 2]), start + 2
                elif length == 127:
                    length, start = int.from_bytes(buffer[start : start + 8]), start + 8
                if len(buffer) < start:
                    self._admit(first, second, 0)
                    return
                self._admit(first, second, length)
                body = start + (4 if self._masked else 0)
                if len(buffer) < body + length:
                    return
                opcode = self._opcode(first)
                payload = bytes(memoryview(buffer)[body : body + length])
                if self._masked:
                    payload = unmasked(payload, bytes(buffer[start:body]))
                at = body + length
                yield opcode, payload
        finally:
            if at:
                del buffer[:at]

    def _admit(self, first: int, second: int, length: int) -> None:
        if first & 0x70:
            raise FrameError(1002, "reserved bits")
        if bool(second & 0x80) is not self._masked:
            raise FrameError(1002, "mask")
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if opcode > PONG:
                raise FrameError(1002, "opcode")
            if not first & 0x80 or second & 0x7F > 125:
                raise FrameError(1002, "control frame")
        elif opcode > BINARY:
            raise FrameError(1002, "opcode")
        if length > self._most:
            raise FrameError(1009, "frame too long")

    def _opcode(self, first: int) -> int:
        opcode, final = first & 0x0F, first & 0x80
        if opcode >= CLOSE:
            return opcode
        if opcode == CONTINUATION:
            if self._message is None:
                raise FrameError(1002, "nothing to continue")
            opcode = self._message
        elif self._message is not None:
            raise FrameError(1002, "message within a message")
        elif opcode == TEXT and not final:
            raise FrameError(1008, "commands are one frame")
        self._message = None if final else opcode
        return opcode
