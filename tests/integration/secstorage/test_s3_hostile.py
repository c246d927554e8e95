"""What bad input gets: S3's own errors, and nothing that is half written is ever listed."""

import contextlib
import hashlib
import hmac
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.secstorage.s3_daemon import KEY, SECRET, Daemon, files, refused, running, until

MIB = 1024**2


@pytest.fixture(scope="module")
def plain_bucket(plain_s3: Daemon) -> str:
    plain_s3.client().create_bucket(Bucket="hostile")
    return "hostile"


def signed(
    s3: Daemon, method: str, target: str, *, payload: str = "UNSIGNED-PAYLOAD", **headers: str
) -> bytes:
    """The head of a request that is signed as it should be."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    path, _, query = target.partition("?")
    host = f"127.0.0.1:{s3.port}"
    own = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": now}
    lines = [f"{name}:{value}" for name, value in own.items()]
    canonical = [method, path, f"{query}=" if query else "", *lines, "", ";".join(own), payload]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    key = b"AWS4" + SECRET.encode()
    for word in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"):
        key = hmac.new(key, word.encode(), "sha256").digest()
    own["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope},SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
        f"Signature={key.hex()}"
    )
    fields = [f"{name}: {value}" for name, value in (own | headers).items()]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *fields]).encode() + b"\r\n\r\n"


def told(s3: Daemon, *pieces: bytes, shut: bool = False) -> bytes:
    """All that is answered until the other end closes."""
    with s3.connect() as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                sock.sendall(piece)
            if shut:
                sock.shutdown(socket.SHUT_WR)
        found = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                found += piece
        return bytes(found)


def keys(s3: Daemon, bucket: str) -> list[str]:
    return [each["Key"] for each in s3.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        ((b"GARBAGE\r\n\r\n",), b"400", b"InvalidRequest"),
        ((b"GET / HTTP/1.1\r\n\r\n",), b"400", b"InvalidRequest"),
        (
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",),
            b"400",
            b"RequestHeaderSectionTooLarge",
        ),
        (
            (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 300 + b"\r\n",),
            b"400",
            b"RequestHeaderSectionTooLarge",
        ),
        ((b"PUT /hostile/k HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",), b"400", b"InvalidArgument"),
        (
            (
                b"PUT /hostile/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n",
            ),
            b"400",
            b"InvalidRequest",
        ),
        ((b"GET /hostile/%ff HTTP/1.1\r\nHost: h\r\n\r\n",), b"400", b"InvalidURI"),
        (
            (b"BREW /hostile/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",),
            b"405",
            b"MethodNotAllowed",
        ),
        (
            (b"GET /hostile/k?acl&tagging HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",),
            b"400",
            b"InvalidArgument",
        ),
        (
            (b"GET /hostile/../../etc/passwd HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",),
            b"403",
            b"AccessDenied",
        ),
    ],
)
def test_heads(
    plain_s3: Daemon, plain_bucket: str, pieces: tuple[bytes, ...], status: bytes, code: bytes
) -> None:
    answer = told(plain_s3, *pieces)
    assert answer.startswith(b"HTTP/1.1 " + status), answer
    assert b"<Code>" + code + b"</Code>" in answer


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"Content-Length": "100"}, b"x" * 50, b"IncompleteBody"),
        ({"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n", b"IncompleteBody"),
        ({"Transfer-Encoding": "chunked"}, b"zz\r\nhello\r\n0\r\n\r\n", b"IncompleteBody"),
        ({"Content-Length": "1", "Content-MD5": "bm90IGFuIG1kNQ=="}, b"x", b"InvalidDigest"),
        ({"Content-Length": "1", "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, b"x", b"BadDigest"),
        ({"Content-Length": str(6 * 1024**3)}, b"x", b"EntityTooLarge"),
        ({}, b"", b"MissingContentLength"),
        ({"Content-Length": "1", "If-Match": '"nothing"'}, b"x", b"NoSuchKey"),
    ],
)
def test_bodies(
    plain_s3: Daemon, plain_bucket: str, headers: dict[str, str], body: bytes, code: bytes
) -> None:
    head = signed(plain_s3, "PUT", "/hostile/half", **headers)
    answer = told(plain_s3, head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), body, shut=True)
    assert b"<Code>" + code + b"</Code>" in answer, answer
    assert keys(plain_s3, plain_bucket) == []
    until(lambda: not list((plain_s3.root / plain_bucket / ".s3").glob("temporary/*")))


def test_a_payload_that_is_not_what_was_signed(plain_s3: Daemon, plain_bucket: str) -> None:
    head = signed(
        plain_s3, "PUT", "/hostile/k", payload="0" * 64, **{"Content-Length": "1", "Connection": "close"}
    )
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in told(plain_s3, head, b"x")
    assert keys(plain_s3, plain_bucket) == []


def test_a_refusal_arrives_though_the_client_still_sends(plain_s3: Daemon, plain_bucket: str) -> None:
    head = b"PUT /hostile/k HTTP/1.1\r\nHost: h\r\nContent-Length: 104857600\r\n\r\n"
    assert b"<Code>AccessDenied</Code>" in told(plain_s3, head, *[b"x" * MIB] * 20)


def test_nothing_is_sent_that_will_be_refused(plain_s3: Daemon, plain_bucket: str) -> None:
    refusal = told(
        plain_s3, b"PUT /hostile/k HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    assert refusal.startswith(b"HTTP/1.1 403") and b"100 Continue" not in refusal
    head = signed(plain_s3, "PUT", "/hostile/waits", **{"Content-Length": "3", "Expect": "100-continue"})
    with plain_s3.connect() as sock:
        sock.sendall(head)
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b"yes")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    plain_s3.client().delete_object(Bucket=plain_bucket, Key="waits")


def test_pipelined_requests(plain_s3: Daemon, plain_bucket: str) -> None:
    boto = plain_s3.client()
    boto.put_object(Bucket=plain_bucket, Key="k", Body=b"small", ACL="public-read")
    get = b"GET /hostile/k HTTP/1.1\r\nHost: h\r\n\r\n"
    put = signed(plain_s3, "PUT", "/hostile/p", **{"Content-Length": "3"}) + b"new"
    last = get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = told(plain_s3, get + put + get + last)
    assert answer.count(b"HTTP/1.1 200") == 4 and answer.count(b"small") == 3
    for key in ("k", "p"):
        boto.delete_object(Bucket=plain_bucket, Key=key)


def test_documents(plain_s3: Daemon, plain_bucket: str) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><Tagging>&b;</Tagging>'
    for body in (bomb, b"<Tagging>", b"", b"\xff\xfe", b"<Other/>"):
        head = signed(
            plain_s3, "PUT", "/hostile?tagging", **{"Content-Length": str(len(body)), "Connection": "close"}
        )
        assert b"<Code>MalformedXML</Code>" in told(plain_s3, head, body)
    head = signed(
        plain_s3, "POST", "/hostile?delete", **{"Content-Length": str(5 * MIB), "Connection": "close"}
    )
    assert b"<Code>MaxMessageLengthExceeded</Code>" in told(plain_s3, head, b"x" * 5 * MIB)


def test_readers_see_the_old_or_the_new(plain_s3: Daemon, plain_bucket: str) -> None:
    """Under writers that never stop, and with an object that is a directory one moment and none the next."""
    boto = plain_s3.client()
    contents = [bytes([65 + number]) * (200_000 + number) for number in range(3)]
    boto.put_object(Bucket=plain_bucket, Key="k", Body=contents[0])
    done = threading.Event()
    failures: list[object] = []

    def write(number: int) -> None:
        mine = plain_s3.client()
        while not done.is_set():
            mine.put_object(Bucket=plain_bucket, Key="k", Body=contents[number])

    def shake() -> None:
        mine = plain_s3.client()
        while not done.is_set():
            mine.put_object(Bucket=plain_bucket, Key="k/below")
            mine.delete_object(Bucket=plain_bucket, Key="k/below")

    def read() -> None:
        mine = plain_s3.client()
        for _ in range(60):
            try:
                found = mine.get_object(Bucket=plain_bucket, Key="k")["Body"].read()
                if found not in contents:
                    failures.append(len(found))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    threads.append(threading.Thread(target=shake))
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in [*threads, *readers]:
        thread.start()
    for thread in readers:
        thread.join()
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    boto.delete_object(Bucket=plain_bucket, Key="k")
    assert keys(plain_s3, plain_bucket) == []


def test_killed_in_the_middle(tmp_path: Path) -> None:
    with running(tmp_path / "one") as daemon:
        daemon.client().create_bucket(Bucket="bkt")
        daemon.client().put_object(Bucket="bkt", Key="k", Body=b"old")
        with daemon.connect() as sock:
            sock.sendall(signed(daemon, "PUT", "/bkt/k", **{"Content-Length": str(10 * MIB)}) + b"x" * MIB)
            until(lambda: list((daemon.root / "bkt" / ".s3").glob("temporary/*")))
            for worker in daemon.workers():
                os.kill(worker, 9)
        boto = daemon.client()
        until(lambda: len(daemon.workers()) == 2)
        assert boto.get_object(Bucket="bkt", Key="k")["Body"].read() == b"old"
        assert [each["Key"] for each in boto.list_objects_v2(Bucket="bkt")["Contents"]] == ["k"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    top = tmp_path / "small"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "s3x", top], check=True)
    try:
        yield top
    finally:
        subprocess.run(["umount", "-l", top], check=True)


def test_store_full_in_the_middle(small_disk: Path, tmp_path: Path) -> None:
    root = small_disk / "root"
    with running(tmp_path / "one", root=root) as daemon:
        boto: Any = daemon.client()
        boto.create_bucket(Bucket="bkt")
        boto.put_object(Bucket="bkt", Key="kept", Body=b"x" * MIB)
        with refused("507"):
            boto.put_object(Bucket="bkt", Key="large", Body=b"x" * 10 * MIB)
        # It can't be told before how long this one is.
        head = signed(daemon, "PUT", "/bkt/stream", **{"Transfer-Encoding": "chunked"})
        pieces = [b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)] * 10
        assert b"<Code>StorageFull</Code>" in told(daemon, head, *pieces, b"0\r\n\r\n", shut=True)
        assert files(root / "bkt") == {"kept"}
        until(lambda: not list((root / "bkt" / ".s3").glob("temporary/*")))
        boto.put_object(Bucket="bkt", Key="fits", Body=b"x" * MIB)
