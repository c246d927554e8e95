"""Heads of requests: what is read in them, and what isn't taken."""

import pytest

from secstorage.s3.error import S3Error
from secstorage.s3.http.request import BadRequestError, parse, place


def test_a_request_is_read() -> None:
    request = parse(
        b"PUT /bucket/a%20b/%C3%A9+?tagging&x=a+b%2B HTTP/1.1\r\n"
        b"Host: h:9000\r\nX-Amz-Meta-A: 1\r\nx-amz-meta-a:  2 "
    )
    place(request, [])
    assert (request.bucket, request.key) == ("bucket", "a b/é+")
    assert request.query == {"tagging": "", "x": "a b+"}
    assert request.headers["x-amz-meta-a"] == "1,2"
    assert request.keep_alive


def test_a_bucket_is_in_the_path_or_in_the_host() -> None:
    request = parse(b"GET //x/ HTTP/1.1\r\nHost: bkt.s3.example.com:443")
    place(request, ["s3.example.com"])
    assert (request.bucket, request.key) == ("bkt", "/x/")
    request = parse(b"GET /bkt//x/ HTTP/1.1\r\nHost: s3.example.com")
    place(request, ["s3.example.com"])
    assert (request.bucket, request.key) == ("bkt", "/x/")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /b/k HTTP/1.1",
        b"GET /b/k HTTP/2.0\r\nHost: h",
        b"GET /b k HTTP/1.1\r\nHost: h",
        b"get /b/k HTTP/1.1\r\nHost: h",
        b"GET b/k HTTP/1.1\r\nHost: h",
        b"GET /b/k HTTP/1.1\r\nHost : h",
        b"GET /b/k HTTP/1.1\r\nHost: h\r\n folded: x",
        b"GET /b/k HTTP/1.1\r\nHost: h\nX: y",
        b"GET /b/k HTTP/1.1\r\nHost: h\r\nX: a\0b",
        b"GET /b/k HTTP/1.1\r\nHost: h\r\nHost: i",
        b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2",
    ],
)
def test_what_is_not_http_is_refused(head: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse(head)


def test_a_key_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(S3Error) as error:
        parse(b"GET /b/%ff HTTP/1.1\r\nHost: h")
    assert error.value.code == "InvalidURI"
