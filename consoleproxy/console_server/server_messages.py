"""What a VNC server sends a viewer who has no right to the clipboard (RFC 6143, sections 7.6 and 7.7).

Text that was copied in the guest (ServerCutText) is a message among others, and where it begins is known
only to whoever knows how long each message before it is. So such a viewer gets only encodings whose lengths
can be told without decoding them, in a pixel format that stays; all other viewers' bytes aren't looked at.
"""

from collections.abc import Callable, Generator
from enum import IntEnum


class MessageError(Exception):
    """What one end sent is no message of the protocol, or none that is taken."""


class Encoding(IntEnum):
    """As the RFB protocol's registry numbers them; pseudo-encodings are negative."""

    RAW, COPY_RECT, ZLIB, ZRLE = 0, 1, 6, 16
    DESKTOP_SIZE, LAST_RECT, CURSOR, X_CURSOR = -223, -224, -239, -240
    QEMU_KEYS, QEMU_LED, GII, DESKTOP_NAME, EXTENDED_SIZE = -258, -261, -305, -307, -308
    XVP, FENCE, CONTINUOUS, EXTENDED_POINTER = -309, -312, -313, -316
    EXTENDED_CLIPBOARD = -1063131698


MEASURED = frozenset(
    {
        Encoding.RAW, Encoding.COPY_RECT, Encoding.ZLIB, Encoding.ZRLE, Encoding.DESKTOP_SIZE,
        Encoding.LAST_RECT, Encoding.CURSOR, Encoding.X_CURSOR, Encoding.QEMU_KEYS, Encoding.QEMU_LED,
        Encoding.DESKTOP_NAME, Encoding.EXTENDED_SIZE, Encoding.FENCE, Encoding.CONTINUOUS,
        # What only asks for more or less quality: no rectangle is of such an encoding.
        *range(-32, -22), *range(-256, -246),
    }
)  # fmt: skip
"""What such a viewer may ask for."""
_MOST_NAME = 4096

_Parser = Generator[int, bytes, None]
"""Yields how many bytes it wants to see; a negative number of bytes only goes by."""


class ServerMessages:
    """One viewer's. `bits_per_pixel` is the viewer's to set (SetPixelFormat) until it asks for a picture."""

    def __init__(self) -> None:
        self.bits_per_pixel = 0
        self._passed: list[bytes | memoryview] = []
        self._passing = True
        self._buffer = b""
        self._parser = self._messages()
        self._wanted = next(self._parser)

    def feed(self, data: bytes | memoryview) -> bytes | memoryview:
        """What of it is for the viewer. Raises MessageError."""
        self._passed.clear()
        data = memoryview(data)
        while data:
            if self._wanted < 0:
                taken, data = data[: -self._wanted], data[-self._wanted :]
                if self._passing:
                    self._passed.append(taken)
                self._wanted += len(taken)
                if not self._wanted:
                    self._next(b"")
            else:
                missing = self._wanted - len(self._buffer)
                self._buffer, data = self._buffer + bytes(data[:missing]), data[missing:]
                if len(self._buffer) == self._wanted:
                    seen, self._buffer = self._buffer, b""
                    self._next(seen)
        return self._passed[0] if len(self._passed) == 1 else b"".join(self._passed)

    def _next(self, seen: bytes) -> None:
        # Nothing of no bytes is waited for.
        while not (wanted := self._parser.send(seen)):
            seen = b""
        self._wanted = wanted

    def _see(self, count: int) -> Generator[int, bytes, bytes]:
        """So many bytes, which are the viewer's, too."""
        seen = yield count
        self._passed.append(seen)
        return seen

    def _messages(self) -> _Parser:
        init = yield from self._see(24)
        # Unless the viewer has said already what it will be.
        self.bits_per_pixel = self.bits_per_pixel or init[4]
        yield -_number(init[20:], most=_MOST_NAME)
        others: dict[int, Callable[[], _Parser]] = {
            0: self._update,
            1: self._colours,
            2: self._nothing,
            150: self._nothing,
            248: self._fence,
        }
        while True:
            kind = yield 1
            if kind[0] == 3:
                yield from self._cut_text()
                continue
            if kind[0] not in others:
                raise MessageError(f"a server's message of kind {kind[0]}")
            self._passed.append(kind)
            yield from others[kind[0]]()

    def _cut_text(self) -> _Parser:
        head = yield 7
        self._passing = False
        # A negative length is that of an extended clipboard message.
        yield -abs(int.from_bytes(head[3:], signed=True))
        self._passing = True

    def _nothing(self) -> _Parser:
        yield 0

    def _colours(self) -> _Parser:
        head = yield from self._see(5)
        yield -6 * int.from_bytes(head[3:])

    def _fence(self) -> _Parser:
        head = yield from self._see(8)
        yield -head[7]

    def _update(self) -> _Parser:
        head = yield from self._see(3)
        # Of as many as a number can say the last says itself that it is.
        for _ in range(int.from_bytes(head[1:])):
            rectangle = yield from self._see(12)
            encoding = int.from_bytes(rectangle[8:], signed=True)
            if encoding == Encoding.LAST_RECT:
                return
            yield from self._rectangle(encoding, _number(rectangle[4:6]), _number(rectangle[6:8]))

    def _rectangle(self, encoding: int, width: int, height: int) -> _Parser:
        pixel = self.bits_per_pixel // 8
        mask = (width + 7) // 8 * height
        match encoding:
            case Encoding.RAW:
                yield -width * height * pixel
            case Encoding.COPY_RECT:
                yield -4
            case Encoding.ZLIB | Encoding.ZRLE:
                length = yield from self._see(4)
                yield -_number(length)
            case Encoding.CURSOR:
                yield -(width * height * pixel + mask)
            case Encoding.X_CURSOR:
                yield -(6 + 2 * mask) if mask else 0
            case Encoding.QEMU_LED:
                yield -1
            case Encoding.DESKTOP_NAME:
                length = yield from self._see(4)
                yield -_number(length, most=_MOST_NAME)
            case Encoding.EXTENDED_SIZE:
                head = yield from self._see(4)
                yield -16 * head[0]
            case Encoding.DESKTOP_SIZE | Encoding.QEMU_KEYS:
                pass
            case _:
                raise MessageError(f"a rectangle of encoding {encoding}, which wasn't asked for")


def _number(seen: bytes, *, most: int = 1 << 30) -> int:
    found = int.from_bytes(seen)
    if found > most:
        raise MessageError(f"a server's length of {found} bytes")
    return found
