"""What a viewer sends a VNC server (RFC 6143, section 7.5, and the RFB protocol's registered extensions).

The proxy reads each message's kind, so that rights are its business and not the page's: what a viewer has no
right to is left out, and what isn't known ends the session. Nothing that would add messages with lengths of
their own (extended mouse buttons, GII) can be negotiated.
"""

from collections.abc import Callable

_POINTER_EXTENDED = -316
_GII = -305
_EXTENDED_CLIPBOARD = -1063131698
"""0xC0A1E5CE, as a signed number."""
MOST_CUT_TEXT = 1 << 20
_FIXED = {0: 20, 3: 10, 4: 8, 5: 6, 150: 10, 250: 4}
_SET_ENCODINGS, _CUT_TEXT, _FENCE, _SET_DESKTOP_SIZE, _QEMU = 2, 6, 248, 251, 255
_CONTROL = frozenset({4, 5, 250, _SET_DESKTOP_SIZE, _QEMU})
_UPDATE_REQUEST = 3


class MessageError(Exception):
    """What a viewer sent is no message of the protocol."""


class ClientMessages:
    """One viewer's messages. `rights()` is asked for each, as control changes hands."""

    def __init__(self, rights: Callable[[], frozenset[str]]) -> None:
        self._rights = rights
        self._buffer = b""
        self.active = False
        """Whether there was more than requests for updates; whoever reads it may set it back."""

    def feed(self, data: bytes) -> bytes:
        """What of it is for the server. Raises MessageError."""
        buffer = self._buffer + data if self._buffer else data
        passed: list[bytes] = []
        at = 0
        while at < len(buffer):
            length = _length(buffer, at)
            if length is None or len(buffer) - at < length:
                break
            message = buffer[at : at + length]
            at += length
            kind = message[0]
            if kind != _UPDATE_REQUEST:
                self.active = True
            if kind == _SET_ENCODINGS:
                passed.append(self._encodings(message))
            elif self._may(kind):
                passed.append(message)
        self._buffer = buffer[at:]
        return b"".join(passed)

    def _may(self, kind: int) -> bool:
        if kind in _CONTROL:
            return "control" in self._rights()
        if kind == _CUT_TEXT:
            return {"control", "clipboard"} <= self._rights()
        return True

    def _encodings(self, message: bytes) -> bytes:
        unwanted = {_POINTER_EXTENDED, _GII}
        if "clipboard" not in self._rights():
            unwanted.add(_EXTENDED_CLIPBOARD)
        found = [message[at : at + 4] for at in range(4, len(message), 4)]
        kept = [each for each in found if int.from_bytes(each, signed=True) not in unwanted]
        return bytes((_SET_ENCODINGS, 0)) + len(kept).to_bytes(2) + b"".join(kept)


def _length(buffer: bytes, at: int) -> int | None:
    """Of the message that begins there; None: too little of it is known. Raises MessageError."""
    kind, there = buffer[at], len(buffer) - at
    if (fixed := _FIXED.get(kind)) is not None:
        return fixed
    match kind:
        case 2:
            return 4 + 4 * int.from_bytes(buffer[at + 2 : at + 4]) if there >= 4 else None
        case 6:
            if there < 8:
                return None
            # A negative length is that of an extended clipboard message.
            length = abs(int.from_bytes(buffer[at + 4 : at + 8], signed=True))
            if length > MOST_CUT_TEXT:
                raise MessageError(f"{length} bytes of clipboard")
            return 8 + length
        case 248:
            return 9 + buffer[at + 8] if there >= 9 else None
        case 251:
            return 8 + 16 * buffer[at + 6] if there >= 8 else None
        case 255:
            return _qemu_length(buffer, at) if there >= 4 else None
    raise MessageError(f"message of kind {kind}")


def _qemu_length(buffer: bytes, at: int) -> int:
    match buffer[at + 1]:
        case 0:
            return 12
        case 1:
            return 10 if int.from_bytes(buffer[at + 2 : at + 4]) == 2 else 4
    raise MessageError(f"QEMU's message of kind {buffer[at + 1]}")
