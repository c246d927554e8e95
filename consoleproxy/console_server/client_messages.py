"""What a viewer sends a VNC server (RFC 6143, section 7.5, and the RFB protocol's registered extensions).

The proxy reads each message's kind, so that rights are its business and not the page's: what a viewer has no
right to is left out, and what isn't known ends the session. Nothing that would add messages with lengths of
their own (extended mouse buttons, GII), or switch the guest off (XVP), can be negotiated.
"""

from collections.abc import Callable

from consoleproxy.console_server.server_messages import MEASURED, Encoding, MessageError, ServerMessages

MOST_CUT_TEXT = 1 << 20
_FIXED = {0: 20, 3: 10, 4: 8, 5: 6, 150: 10, 250: 4}
_CONTROL = frozenset({4, 5, 251, 255})
"""KeyEvent, PointerEvent, SetDesktopSize, QEMU's."""
_UNWANTED = frozenset({Encoding.EXTENDED_POINTER, Encoding.GII, Encoding.XVP})


class ClientMessages:
    """One viewer's messages. `rights()` is asked for each, as control changes hands. `measured` is given
    where what the server sends must be understood, too: of a viewer without the right to the clipboard."""

    def __init__(self, rights: Callable[[], frozenset[str]], measured: ServerMessages | None = None) -> None:
        self._rights = rights
        self._measured = measured
        self._pictured = False
        """Whether a picture was asked for: from then on the pixel format stays, if it must be known."""
        self._buffer = bytearray()
        self._wanted = 1
        """Bytes, before there is a message as a whole."""
        self.active = False
        """Whether there was more than requests for updates; whoever reads it may set it back."""

    def feed(self, data: bytes) -> bytes:
        """What of it is for the server. Raises MessageError."""
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._wanted:
            return b""
        passed: list[bytes] = []
        at = 0
        self._wanted = 1
        while at < len(buffer):
            length = _length(buffer, at)
            if length is None or len(buffer) - at < length:
                self._wanted = length or len(buffer) - at + 1
                break
            passed.append(self._taken(bytes(buffer[at : at + length])))
            at += length
        del buffer[:at]
        return b"".join(passed)

    def _taken(self, message: bytes) -> bytes:
        """A message as the server gets it."""
        kind = message[0]
        if kind != 3:
            self.active = True
        match kind:
            case 0 if self._measured is not None:
                if self._pictured:
                    return b""
                if message[4] not in (8, 16, 32):
                    raise MessageError(f"{message[4]} bits per pixel")
                self._measured.bits_per_pixel = message[4]
            case 2:
                return self._encodings(message)
            case 3 | 150:
                self._pictured = True
            case 6:
                return message if {"control", "clipboard"} <= self._rights() else b""
            case 250:
                return b""
            case _ if kind in _CONTROL and "control" not in self._rights():
                return b""
        return message

    def _encodings(self, message: bytes) -> bytes:
        found = [message[at : at + 4] for at in range(4, len(message), 4)]
        kept = [each for each in found if self._may_ask(int.from_bytes(each, signed=True))]
        return bytes((2, 0)) + len(kept).to_bytes(2) + b"".join(kept)

    def _may_ask(self, encoding: int) -> bool:
        if self._measured is not None:
            return encoding in MEASURED
        if encoding == Encoding.EXTENDED_CLIPBOARD:
            return "clipboard" in self._rights()
        return encoding not in _UNWANTED


def _length(buffer: bytearray, at: int) -> int | None:
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


def _qemu_length(buffer: bytearray, at: int) -> int:
    match buffer[at + 1]:
        case 0:
            return 12
        case 1:
            return 10 if int.from_bytes(buffer[at + 2 : at + 4]) == 2 else 4
    raise MessageError(f"QEMU's message of kind {buffer[at + 1]}")
