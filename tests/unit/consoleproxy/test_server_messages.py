"""Servers' messages for viewers without the clipboard: all but its text arrives, however it is cut."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consoleproxy.console_server.client_messages import ClientMessages
from consoleproxy.console_server.server_messages import Encoding, MessageError, ServerMessages

INIT = b"\x02\x80\x01\xe0" + b"\x20\x18" + bytes(14) + b"\x00\x00\x00\x03abc"
CUT = b"\x03\x00\x00\x00\x00\x00\x00\x06secret"
EXTENDED_CUT = b"\x03\x00\x00\x00" + (-6).to_bytes(4, signed=True) + b"secret"
BELL, END_OF_CONTINUOUS = b"\x02", b"\x96"
COLOURS = b"\x01\x00\x00\x00\x00\x02" + bytes(12)
FENCE = b"\xf8\x00\x00\x00\x80\x00\x00\x00\x02hi"


def rectangle(encoding: int, payload: bytes, *, width: int = 4, height: int = 2) -> bytes:
    return bytes(4) + width.to_bytes(2) + height.to_bytes(2) + encoding.to_bytes(4, signed=True) + payload


RECTANGLES = [
    rectangle(Encoding.RAW, b"\x03" * 32),
    rectangle(Encoding.COPY_RECT, b"\x03" * 4),
    rectangle(Encoding.ZRLE, b"\x00\x00\x00\x05" + b"\x03" * 5),
    rectangle(Encoding.ZLIB, b"\x00\x00\x00\x00"),
    rectangle(Encoding.CURSOR, b"\x03" * 34),
    rectangle(Encoding.X_CURSOR, b"\x03" * 10),
    rectangle(Encoding.X_CURSOR, b"", width=0),
    rectangle(Encoding.DESKTOP_SIZE, b""),
    rectangle(Encoding.EXTENDED_SIZE, b"\x01\x00\x00\x00" + b"\x03" * 16),
    rectangle(Encoding.DESKTOP_NAME, b"\x00\x00\x00\x02" + b"\x03\x03"),
    rectangle(Encoding.QEMU_LED, b"\x03"),
    rectangle(Encoding.QEMU_KEYS, b""),
]


def update(*rectangles: bytes, endless: bool = False) -> bytes:
    count = 0xFFFF if endless else len(rectangles)
    last = rectangle(Encoding.LAST_RECT, b"", width=0, height=0) if endless else b""
    return b"\x00\x00" + count.to_bytes(2) + b"".join(rectangles) + last


def passed(*pieces: bytes) -> bytes:
    messages = ServerMessages()
    return b"".join(bytes(messages.feed(piece)) for piece in pieces)


_messages = st.lists(
    st.sampled_from([CUT, EXTENDED_CUT, BELL, END_OF_CONTINUOUS, COLOURS, FENCE])
    | st.lists(st.sampled_from(RECTANGLES), max_size=4).map(lambda found: update(*found))
    | st.just(update(*RECTANGLES, endless=True)),
    max_size=8,
)


@given(_messages, st.lists(st.integers(1, 40), max_size=40))
@settings(max_examples=60, deadline=None)
def test_all_but_the_clipboard_however_it_is_cut(messages: list[bytes], sizes: list[int]) -> None:
    stream = INIT + b"".join(messages)
    pieces, at = [], 0
    for size in [*sizes, len(stream)]:
        pieces.append(stream[at : at + size])
        at += size
    wanted = INIT + b"".join(each for each in messages if each not in (CUT, EXTENDED_CUT))
    assert passed(*pieces) == wanted


def test_the_pixel_format_is_the_viewers_until_there_is_a_picture() -> None:
    measured = ServerMessages()
    viewer = ClientMessages(lambda: frozenset({"view"}), measured)
    measured.feed(INIT)
    eight = bytes(4) + b"\x08" + bytes(15)
    asked = b"\x03\x00" + bytes(8)
    assert viewer.feed(eight + asked) == eight + asked
    assert viewer.feed(bytes(4) + b"\x20" + bytes(15) + asked) == asked
    raw = update(rectangle(Encoding.RAW, b"\x03" * 8))
    assert measured.feed(raw + CUT + BELL) == raw + BELL


def test_only_what_can_be_measured_is_asked_for() -> None:
    viewer = ClientMessages(lambda: frozenset({"view", "control"}), ServerMessages())
    asked = [7, 16, 5, 0, Encoding.EXTENDED_CLIPBOARD, -260, -24, Encoding.CURSOR]
    kept = [16, 0, -24, Encoding.CURSOR]
    head = b"\x02\x00\x00"
    wanted = [b"".join(each.to_bytes(4, signed=True) for each in some) for some in (asked, kept)]
    assert viewer.feed(head + b"\x08" + wanted[0]) == head + b"\x04" + wanted[1]


@pytest.mark.parametrize(
    "lie",
    [
        b"\x07",
        update(rectangle(7, b"")),
        update(rectangle(Encoding.ZRLE, b"\xff\xff\xff\xff")),
        update(rectangle(Encoding.DESKTOP_NAME, b"\x00\x01\x00\x00")),
    ],
    ids=["message", "encoding", "length", "name"],
)
def test_servers_that_send_what_cannot_be_measured(lie: bytes) -> None:
    with pytest.raises(MessageError):
        passed(INIT + lie)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_garbage_is_refused_or_goes_by(data: bytes) -> None:
    with suppress(MessageError):
        assert len(passed(INIT, data)) <= len(INIT) + len(data)
