"""Viewers' messages: each is passed on or not, however it is cut into pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consoleproxy.console_server.client_messages import ClientMessages, MessageError

ALL = frozenset({"view", "control", "clipboard"})
KEY = b"\x04\x01\x00\x00\x00\x00\x00\x61"
POINTER = b"\x05\x01\x00\x01\x00\x02"
CUT = b"\x06\x00\x00\x00\x00\x00\x00\x03abc"
EXTENDED_CUT = b"\x06\x00\x00\x00" + (-4).to_bytes(4, signed=True) + b"\x01\x00\x00\x00"
UPDATE = b"\x03\x01" + bytes(8)
FORMAT = bytes(20)
FENCE = b"\xf8\x00\x00\x00\x80\x00\x00\x00\x02hi"
SIZE = b"\xfb\x00\x04\x00\x03\x00\x01\x00" + bytes(16)
QEMU_KEY = b"\xff\x00\x00\x01\x00\x00\x00\x61\x00\x00\x00\x1e"
AUDIO = b"\xff\x01\x00\x00"
AUDIO_FORMAT = b"\xff\x01\x00\x02\x00\x02\x00\x00\xac\x44"
XVP = b"\xfa\x00\x01\x02"
CONTINUOUS = b"\x96\x01" + bytes(8)
ENCODINGS = b"\x02\x00\x00\x02\x00\x00\x00\x10\xff\xff\xff\x21"
HARMLESS = [UPDATE, FORMAT, FENCE, CONTINUOUS, ENCODINGS]
CONTROLLING = [KEY, POINTER, SIZE, QEMU_KEY, AUDIO, AUDIO_FORMAT]


def fed(data: bytes, rights: frozenset[str] = ALL) -> bytes:
    return ClientMessages(lambda: rights).feed(data)


@pytest.mark.parametrize("message", [*HARMLESS, *CONTROLLING, CUT, EXTENDED_CUT], ids=bytes.hex)
def test_all_pass_with_all_rights(message: bytes) -> None:
    assert fed(message + UPDATE) == message + UPDATE


def test_who_looks_on_controls_nothing() -> None:
    everything = b"".join([*CONTROLLING, CUT, EXTENDED_CUT, *HARMLESS])
    assert fed(everything, frozenset({"view"})) == b"".join(HARMLESS)
    assert fed(everything, frozenset({"view", "clipboard"})) == b"".join(HARMLESS)


def test_no_clipboard() -> None:
    rights = frozenset({"view", "control"})
    assert fed(KEY + CUT + EXTENDED_CUT + KEY, rights) == 2 * KEY
    extended = b"\x02\x00\x00\x01\xc0\xa1\xe5\xce"
    assert fed(extended, rights) == b"\x02\x00\x00\x00"
    assert fed(extended) == extended


def test_nothing_that_adds_messages_is_negotiated_nor_what_switches_off() -> None:
    wanted = b"".join(number.to_bytes(4, signed=True) for number in (-316, 7, -305, -309))
    assert fed(b"\x02\x00\x00\x04" + wanted) == b"\x02\x00\x00\x01\x00\x00\x00\x07"
    assert fed(XVP + UPDATE) == UPDATE


def test_one_byte_at_a_time_costs_no_more() -> None:
    """Megabytes that come byte by byte are looked at once, not at each byte."""
    messages = ClientMessages(lambda: ALL)
    cut = b"\x06\x00\x00\x00" + (1 << 20).to_bytes(4) + bytes(1 << 20)
    assert not any(messages.feed(cut[at : at + 1]) for at in range(len(cut) - 1))
    assert messages.feed(cut[-1:] + UPDATE) == cut + UPDATE


def test_control_that_changes_hands() -> None:
    rights = {"view", "control"}
    messages = ClientMessages(lambda: frozenset(rights))
    assert messages.feed(KEY[:4]) == b""
    rights.discard("control")
    assert messages.feed(KEY[4:] + UPDATE) == UPDATE


def test_requests_for_pictures_are_no_activity() -> None:
    messages = ClientMessages(lambda: ALL)
    messages.feed(UPDATE)
    assert not messages.active
    messages.feed(KEY)
    assert messages.active


@pytest.mark.parametrize("message", [b"\x01", b"\x07", b"\xfd\x00", b"\xff\x02\x00\x00",
                                     b"\x06\x00\x00\x00\x7f\xff\xff\xff"], ids=bytes.hex)  # fmt: skip
def test_unknown_messages_end_it(message: bytes) -> None:
    with pytest.raises(MessageError):
        fed(message)


@given(st.lists(st.sampled_from([*HARMLESS, *CONTROLLING, CUT]), max_size=12), st.lists(st.integers(1, 9)))
@settings(max_examples=60)
def test_pieces(messages: list[bytes], cuts: list[int]) -> None:
    data, reader, passed = b"".join(messages), ClientMessages(lambda: frozenset({"view"})), b""
    for cut in [*cuts, len(data)]:
        passed += reader.feed(data[:cut])
        data = data[cut:]
    passed += reader.feed(data)
    assert passed == b"".join(message for message in messages if message in HARMLESS)


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        assert len(fed(data, frozenset({"view"}))) <= len(data)
    except MessageError:
        return
