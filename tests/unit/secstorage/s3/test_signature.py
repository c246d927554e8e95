"""Signatures: Amazon's own examples, and what is changed in them."""

import calendar

import pytest

from secstorage.s3.error import S3Error
from secstorage.s3.http.body import Buffered, Plain
from secstorage.s3.http.request import Request, parse
from secstorage.s3.http.signature import signer
from secstorage.s3.http.signed_chunks import SIGNED, SignedChunks

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRETS = {KEY: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
NOW = float(calendar.timegm((2013, 5, 24, 0, 0, 0)))
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode()


# S3 API Reference, "Examples: Signature Calculations".
GET = (
    "GET /test.txt HTTP/1.1",
    "Host: examplebucket.s3.amazonaws.com",
    f"Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,"
    "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    "Range: bytes=0-9",
    f"x-amz-content-sha256: {EMPTY}",
    "x-amz-date: 20130524T000000Z",
)
PRESIGNED = (
    f"GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20130524%2Fus-east-1%2Fs3%2F"
    "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1",
    "Host: examplebucket.s3.amazonaws.com",
)
LISTING = (
    "GET /?max-keys=2&prefix=J HTTP/1.1",
    "Host: examplebucket.s3.amazonaws.com",
    f"Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
    "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    f"x-amz-content-sha256: {EMPTY}",
    "x-amz-date: 20130524T000000Z",
)
CHUNKED = (
    "PUT /examplebucket/chunkObject.txt HTTP/1.1",
    "Host: s3.amazonaws.com",
    "x-amz-date: 20130524T000000Z",
    "x-amz-storage-class: REDUCED_REDUNDANCY",
    f"Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,"
    "SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
    "x-amz-decoded-content-length;x-amz-storage-class,"
    "Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "Content-Encoding: aws-chunked",
    "x-amz-decoded-content-length: 66560",
    "Content-Length: 66824",
)
CHUNKS = (
    ("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", 65536),
    ("0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", 1024),
    ("b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", 0),
)


def checked(lines: tuple[str, ...], now: float = NOW, **changes: str) -> str:
    text = head(*lines).decode()
    for old, new in changes.items():
        text = text.replace(old, new)
    found = signer(parse(text.encode()), SECRETS, region="us-east-1", now=now)
    return found.access_key if found else ""


@pytest.mark.parametrize("lines", [GET, PRESIGNED, LISTING, CHUNKED])
def test_amazons_own_examples(lines: tuple[str, ...]) -> None:
    assert checked(lines) == KEY


def test_nobody_signed() -> None:
    assert checked(("GET /b/k HTTP/1.1", "Host: h")) == ""


@pytest.mark.parametrize(
    ("lines", "now", "changes", "code"),
    [
        (GET, NOW, {"bytes=0-9": "bytes=0-8"}, "SignatureDoesNotMatch"),
        (GET, NOW, {"test.txt": "test.txs"}, "SignatureDoesNotMatch"),
        (GET, NOW, {"GET ": "HEAD "}, "SignatureDoesNotMatch"),
        (GET, NOW, {"bdb41": "bdb42"}, "SignatureDoesNotMatch"),
        (GET, NOW, {KEY: "AKIANOBODY"}, "InvalidAccessKeyId"),
        (GET, NOW, {"us-east-1": "eu-west-1"}, "AuthorizationHeaderMalformed"),
        (GET, NOW, {"/s3/": "/sns/"}, "AuthorizationHeaderMalformed"),
        (GET, NOW, {"20130524/us": "20130525/us"}, "AuthorizationHeaderMalformed"),
        (GET, NOW, {"Signature=": "Signatur="}, "AuthorizationHeaderMalformed"),
        (GET, NOW, {"AWS4-HMAC-SHA256 C": "AWS C"}, "InvalidRequest"),
        (GET, NOW, {"SignedHeaders=host;": "SignedHeaders="}, "AccessDenied"),
        (GET, NOW, {"x-amz-date: ": "x-amz-acl: public-read\r\nx-amz-date: "}, "AccessDenied"),
        (GET, NOW + 901, {}, "RequestTimeTooSkewed"),
        (GET, NOW - 901, {}, "RequestTimeTooSkewed"),
        (PRESIGNED, NOW + 86401, {}, "AccessDenied"),
        (PRESIGNED, NOW - 901, {}, "AccessDenied"),
        (PRESIGNED, NOW, {"86400": "864000"}, "AuthorizationQueryParametersError"),
        (PRESIGNED, NOW, {"86400": "86401"}, "SignatureDoesNotMatch"),
        (PRESIGNED, NOW, {"X-Amz-Expires": "X-Amz-Expire"}, "AuthorizationQueryParametersError"),
    ],
)
def test_forgeries(lines: tuple[str, ...], now: float, changes: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as error:
        checked(lines, now, **changes)
    assert error.value.code == code


class Bytes:
    """A source of bytes, a few at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        self._content = memoryview(content)
        self._step = step

    def read_into(self, view: memoryview) -> int:
        count = min(len(view), self._step, len(self._content))
        view[:count] = self._content[:count]
        self._content = self._content[count:]
        return count

    def read_line(self, limit: int) -> bytes:
        raise NotImplementedError


def chunks() -> bytes:
    parts = [
        b"%x;chunk-signature=%s\r\n%s\r\n" % (size, signature.encode(), b"a" * size)
        for signature, size in CHUNKS
    ]
    return b"".join(parts)


def read(content: bytes, *, step: int = 50_000, length: int = 66560) -> bytes:
    request: Request = parse(head(*CHUNKED))
    who = signer(request, SECRETS, region="us-east-1", now=NOW)
    assert who is not None
    body = SignedChunks(Buffered(Plain(Bytes(content, step), len(content))), who, kind=SIGNED, length=length)
    found = bytearray()
    view = memoryview(bytearray(10_000))
    while count := body.read_into(view):
        found += view[:count]
    return bytes(found)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_amazons_chunks(step: int) -> None:
    assert len(chunks()) == 66824
    assert read(chunks(), step=step) == b"a" * 66560


@pytest.mark.parametrize(
    ("content", "length", "code"),
    [
        (chunks().replace(b"a" * 1024 + b"\r\n0", b"a" * 1023 + b"b\r\n0"), 66560, "SignatureDoesNotMatch"),
        (chunks().replace(b"0055627c", b"1055627c"), 66560, "SignatureDoesNotMatch"),
        (chunks()[chunks().index(b"400;") :], 66560, "SignatureDoesNotMatch"),
        (chunks()[: chunks().index(b"400;")], 66560, "IncompleteBody"),
        (chunks()[:-2], 66560, "IncompleteBody"),
        (chunks() + b"more", 66560, "IncompleteBody"),
        (chunks(), 66559, "IncompleteBody"),
        (chunks(), 66561, "IncompleteBody"),
        (b"zz;chunk-signature=" + b"0" * 64 + b"\r\n", 66560, "IncompleteBody"),
        (b"10\r\n" + b"a" * 16 + b"\r\n", 66560, "IncompleteBody"),
    ],
)
def test_chunks_that_were_tampered_with(content: bytes, length: int, code: str) -> None:
    with pytest.raises(S3Error) as error:
        read(content, length=length)
    assert error.value.code == code
