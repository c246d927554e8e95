"""The parser: what it takes, what it refuses, and that neither depends on how the bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.metadata_server.request import BODY_BYTES, HEAD_BYTES, Refusal, Request, parse

GET = b"GET /latest/user-data HTTP/1.1\r\nHost: 10.1.1.1\r\n\r\n"


def stream(*pieces: bytes) -> list[Request | Refusal]:
    """What comes out of a connection that gets these pieces."""
    received = bytearray()
    out: list[Request | Refusal] = []
    for piece in pieces:
        received += piece
        while received and not (out and isinstance(out[-1], Refusal)):
            parsed = parse(received)
            if parsed is None:
                break
            item, used = parsed
            out.append(item)
            del received[:used]
    return out


def test_a_request() -> None:
    parsed = parse(GET + b"more")
    assert parsed is not None
    request, used = parsed
    assert used == len(GET)
    assert request == Request(
        method="GET", path="/latest/user-data", headers={"host": "10.1.1.1"}, keep_alive=True, minor=1
    )


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: x", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
    ],
)
def test_connections_are_kept_as_asked(head: bytes, keep_alive: bool) -> None:
    (request,) = stream(head + b"\r\n\r\n")
    assert isinstance(request, Request)
    assert request.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET http://10.1.1.1/latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT 10.1.1.1:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /.. HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%2e%2e/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"GET /" + b"a" * HEAD_BYTES, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD_BYTES, 431),
    ],
)
def test_what_is_refused(raw: bytes, status: int) -> None:
    assert stream(raw) == [Refusal(status)]


def test_a_body_is_read_past() -> None:
    put = b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES
    assert stream(put + b"x" * (BODY_BYTES - 1)) == []
    assert [each.method for each in stream(put + b"x" * BODY_BYTES + GET) if isinstance(each, Request)] == [
        "PUT",
        "GET",
    ]


requests = st.lists(
    st.one_of(
        st.sampled_from([
            GET,
            b"HEAD /latest/meta-data/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            b"GET /a%20b HTTP/1.1\r\nHost: x\r\n\r\n",
        ]),
        st.binary(max_size=60),
        st.binary(max_size=60).map(lambda junk: b"GET / HTTP/1.1\r\nHost: x\r\n" + junk + b"\r\n\r\n"),
    ),
    max_size=4,
).map(b"".join)  # fmt: skip


@given(requests, st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(raw: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(raw)))
    assert stream(raw[:cut], raw[cut:]) == stream(raw) == stream(*(bytes([byte]) for byte in raw))


@given(st.binary(max_size=10_000))
def test_any_bytes_are_a_request_or_refused_or_not_whole(raw: bytes) -> None:
    parsed = parse(raw)
    if parsed is None:
        assert len(raw) < HEAD_BYTES + BODY_BYTES
    else:
        assert 0 < parsed[1] <= len(raw)


@given(st.text(alphabet="/.%a?#\\\r\n :", max_size=20))
def test_no_path_leaves_its_tree(path: str) -> None:
    for item in stream(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
        if isinstance(item, Request):
            assert item.path.startswith("/")
            assert not {"..", "."} & set(item.path.split("/")) and "%" not in item.path
