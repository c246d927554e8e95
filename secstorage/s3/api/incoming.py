"""What a request brings, held against everything that it says of it."""

import binascii
import hashlib
import os
import re
from base64 import b64decode
from dataclasses import dataclass

from secstorage.s3 import checksum
from secstorage.s3.checksum import Digest
from secstorage.s3.error import S3Error
from secstorage.s3.http.body import Buffered, Chunked, Plain
from secstorage.s3.http.request import Request
from secstorage.s3.http.signature import Signer
from secstorage.s3.http.signed_chunks import KINDS, UNSIGNED_TRAILER, SignedChunks
from secstorage.s3.store import receiving

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Received:
    size: int
    md5: str
    """In hex."""
    checksums: dict[str, str]


class Incoming:
    """Raises S3Error for claims that can't be true before a byte is read, and for those that weren't
    after."""

    def __init__(self, request: Request, raw: Plain | Chunked, signer: Signer | None) -> None:
        headers = request.headers
        self.raw = raw
        self._stream: Plain | Chunked | SignedChunks = raw
        payload = headers.get("x-amz-content-sha256", "")
        self._sha256 = payload if _SHA256.fullmatch(payload) else ""
        if payload in KINDS:
            if signer is None or (not signer.key and payload != UNSIGNED_TRAILER):
                raise S3Error("AccessDenied")
            length = headers.get("x-amz-decoded-content-length", "")
            if not length.isascii() or not length.isdigit() or len(length) > 18:
                raise S3Error("MissingContentLength")
            self._stream = SignedChunks(Buffered(raw), signer, kind=payload, length=int(length))
        elif payload and not self._sha256 and payload != "UNSIGNED-PAYLOAD":
            raise S3Error(
                "InvalidArgument",
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-... or a SHA-256",
            )
        self._md5 = _md5(headers.get("content-md5"))
        self._wanted = _checksum(request)
        trailer = headers.get("x-amz-trailer", "").strip().lower()
        self._trailer = checksum.of_header(trailer) or ""
        if trailer and not self._trailer:
            raise S3Error(
                "InvalidRequest", "The value specified in the x-amz-trailer header is not supported"
            )
        self._asked = headers.get("x-amz-sdk-checksum-algorithm", "").upper()
        if self._asked and self._asked not in checksum.ALGORITHMS:
            raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")

    @property
    def length(self) -> int | None:
        """Of the content; None if only its end will tell."""
        return self._stream.length

    def store(self, file: int, *, algorithm: str = "", most: int) -> Received:
        """Write the content to a file. `algorithm`: of a checksum that is wanted in any case."""
        if self.length is not None and self.length > most:
            raise S3Error("EntityTooLarge", elements={"MaxSizeAllowed": str(most)}, close=True)
        md5 = hashlib.md5(usedforsecurity=False)
        sha256 = hashlib.sha256() if self._sha256 else None
        digests: dict[str, Digest] = {}
        for name in {*self._wanted, self._trailer, self._asked, algorithm} - {""}:
            digests[name] = sha256 if name == "SHA256" and sha256 else checksum.new(name)
        others = list(digests.values())
        if sha256 is not None and not any(each is sha256 for each in others):
            others.append(sha256)
        body = receiving.AtMost(self._stream, most)
        size = receiving.receive(body, file, [md5, *others])
        self._verify(md5.digest(), sha256, {name: each.digest() for name, each in digests.items()})
        return Received(
            size, md5.hexdigest(), {name: checksum.text(each.digest()) for name, each in digests.items()}
        )

    def read(self, most: int, *, of_body: bool = True) -> bytes:
        """All of a small body. `of_body`: whether a checksum in the header is the body's."""
        if not of_body:
            self._wanted = {}
        if self.length is not None and self.length > most:
            raise S3Error("MaxMessageLengthExceeded", close=True)
        content = bytearray()
        view = memoryview(bytearray(65_536))
        while count := self._stream.read_into(view):
            content += view[:count]
            if len(content) > most:
                raise S3Error("MaxMessageLengthExceeded", close=True)
        names = {*self._wanted, self._trailer} - {""}
        digests = {}
        for name in names:
            digest = checksum.new(name)
            digest.update(content)
            digests[name] = digest.digest()
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        self._verify(md5, hashlib.sha256(content) if self._sha256 else None, digests)
        return bytes(content)

    def _verify(self, md5: bytes, sha256: "hashlib._Hash | None", digests: dict[str, bytes]) -> None:
        if self._md5 and self._md5 != md5:
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
        if sha256 is not None and sha256.hexdigest() != self._sha256:
            elements = {
                "ClientComputedContentSHA256": self._sha256,
                "S3ComputedContentSHA256": sha256.hexdigest(),
            }
            raise S3Error("XAmzContentSHA256Mismatch", elements=elements)
        wanted = dict(self._wanted)
        if self._trailer:
            trailers = self._stream.trailers if isinstance(self._stream, SignedChunks) else {}
            told = trailers.get(checksum.header(self._trailer))
            if told is None:
                raise S3Error("InvalidRequest", "The trailer that x-amz-trailer announces is missing.")
            wanted[self._trailer] = told
        for name, told in wanted.items():
            if told != checksum.text(digests[name]):
                message = f"The {name} you specified did not match the calculated checksum."
                raise S3Error("BadDigest", message)


def _md5(value: str | None) -> bytes:
    if value is None:
        return b""
    try:
        digest = b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest")
    return digest


def _checksum(request: Request) -> dict[str, str]:
    found = {}
    for name, value in request.headers.items():
        algorithm = checksum.of_header(name)
        if algorithm is None:
            continue
        try:
            size = len(b64decode(value, validate=True))
        except (ValueError, binascii.Error):
            size = 0
        if size != checksum.size(algorithm):
            raise S3Error("InvalidRequest", f"Value for {name} header is invalid.")
        found[algorithm] = value
    if len(found) > 1:
        raise S3Error("InvalidRequest", "Expecting a single x-amz-checksum- header.")
    return found


def check_space(root: bytes, size: int, reserve: int) -> None:
    """Raises S3Error if so much can't be stored: better before than after it was sent."""
    found = os.statvfs(root)
    if size + reserve > found.f_bavail * found.f_frsize:
        raise S3Error("StorageFull", close=True)
