"""WebSocket frames, and HTTP requests before them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consoleproxy.console_server import request as http
from consoleproxy.console_server import websocket
from consoleproxy.console_server.rfb import RfbError, ViewerHandshake, challenge_answer
from consoleproxy.console_server.websocket import FrameError, Frames


def read(data: bytes, *, masked: bool = True, most: int = 1 << 20) -> list[tuple[int, bytes]]:
    return list(Frames(masked=masked, most=most).feed(data))


def test_the_rfcs_own_example() -> None:
    """RFC 6455, sections 1.3 and 5.7."""
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert read(bytes.fromhex("818537fa213d7f9f4d5158")) == [(1, b"Hello")]
    assert read(bytes.fromhex("810548656c6c6f"), masked=False) == [(1, b"Hello")]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_001])
def test_there_and_back(length: int) -> None:
    payload = bytes(range(256)) * (length // 256) + bytes(length % 256)
    for masked in (False, True):
        assert read(websocket.frame(2, payload, masked=masked), masked=masked) == [(2, payload)]


@given(st.lists(st.binary(max_size=200), max_size=6), st.integers(1, 50))
@settings(max_examples=50)
def test_pieces(payloads: list[bytes], size: int) -> None:
    data = b"".join(websocket.frame(2, payload, masked=True) for payload in payloads)
    frames, found = Frames(masked=True, most=1 << 20), []
    for at in range(0, len(data), size):
        found += frames.feed(data[at : at + size])
    assert found == [(2, payload) for payload in payloads]


def test_fragments() -> None:
    first, last = b"\x02\x81aaaa\x00", b"\x80\x81aaaa\x00"
    assert read(first + websocket.frame(9, b"", masked=True) + last) == [(2, b"a"), (9, b""), (2, b"a")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01x", 1002),  # not masked
        (b"\xc2\x80aaaa", 1002),  # compressed, as nobody agreed
        (b"\x83\x80aaaa", 1002),
        (b"\x8b\x80aaaa", 1002),
        (b"\x80\x80aaaa", 1002),  # continues nothing
        (b"\x09\x80aaaa", 1002),  # a ping in pieces
        (b"\x89\xfe\x00\x7eaaaa", 1002),
        (b"\x02\x80aaaa\x82\x80aaaa", 1002),
        (b"\x01\x80aaaa", 1008),
        (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009),
        (b"\x82\xff\x00\x00\x00\x00\x00\x20\x00\x00", 1009),
    ],
)
def test_what_is_no_frame(data: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        read(data)
    assert caught.value.code == code


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        read(data)
    except FrameError:
        return


def test_requests() -> None:
    request, rest = http.read(b"POST /x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET") or (
        None,
        b"",
    )
    assert request is not None
    assert (request.method, request.path, request.body, rest) == ("POST", "/x", b"hi", b"GET")
    assert http.read(b"GET / HTTP/1.1\r\nHos") is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"GET / HTTP/1.1\r\nX: " + 20_000 * b"x", 431),
    ],
)
def test_refused_requests(data: bytes, status: int) -> None:
    with pytest.raises(http.RequestError) as caught:
        http.read(data)
    assert caught.value.status == status


@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_any_request_is_read_or_refused(data: bytes) -> None:
    try:
        http.read(data + b"\r\n\r\n")
    except http.RequestError:
        return


@given(st.binary(max_size=60))
@settings(max_examples=60)
def test_any_viewer_is_greeted_or_refused(data: bytes) -> None:
    handshake = ViewerHandshake()
    try:
        handshake.feed(data)
        assert not handshake.done or data.startswith(b"RFB 003.00")
    except RfbError:
        return


def test_vnc_authentication() -> None:
    """DES with mirrored bytes of the key: of a zero key, FIPS 81's known answer."""
    assert challenge_answer(bytes(8), "") == bytes.fromhex("8ca64de9c1b123a7")
    assert len(challenge_answer(bytes(16), "longer than eight")) == 16
