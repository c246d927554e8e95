"""Bodies in `aws-chunked` coding: chunks, each maybe signed, and trailers with the checksum of the whole
(S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
Chunks").
"""

import hashlib
import hmac
import re

from secstorage.s3.error import S3Error
from secstorage.s3.http.body import Buffered
from secstorage.s3.http.signature import Signer

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
KINDS = frozenset({SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER})
_LINE = 8192
_TRAILERS = 20
_EMPTY = hashlib.sha256().hexdigest()
_HEAD = re.compile(rb"([0-9a-fA-F]{1,15})(?:;chunk-signature=([0-9a-f]{64}))?")


class SignedChunks:
    """The content of such a body. What it gives is to be believed only once its end was reached without
    an error."""

    def __init__(self, inner: Buffered, signer: Signer, *, kind: str, length: int) -> None:
        self._inner = inner
        self._signer = signer
        self._signed = kind != UNSIGNED_TRAILER
        self._with_trailers = kind != SIGNED
        self.length: int | None = length
        self.trailers: dict[str, str] = {}
        self._total = 0
        self._chunk = 0
        self._ended = False
        self._expected = ""
        self._previous = signer.signature
        self._digest = hashlib.sha256()

    def read_into(self, view: memoryview) -> int:
        if self._ended:
            return 0
        if not self._chunk:
            self._begin()
            if self._ended:
                return 0
        count = self._inner.read_into(view[: self._chunk])
        if not count:
            raise S3Error("IncompleteBody", close=True)
        if self._signed:
            self._digest.update(view[:count])
        self._chunk -= count
        if not self._chunk:
            if self._inner.read_line(2):
                raise S3Error("IncompleteBody", close=True)
            self._verify()
        return count

    def _begin(self) -> None:
        found = _HEAD.fullmatch(self._inner.read_line(_LINE).strip())
        if found is None or bool(found[2]) != self._signed:
            raise S3Error("IncompleteBody", "The chunk header is malformed.", close=True)
        self._chunk = int(found[1], 16)
        self._expected = (found[2] or b"").decode()
        self._digest = hashlib.sha256()
        self._total += self._chunk
        if self.length is not None and self._total > self.length:
            raise S3Error("IncompleteBody", close=True)
        if not self._chunk:
            self._verify()
            self._end()

    def _verify(self) -> None:
        if not self._signed:
            return
        kind = "AWS4-HMAC-SHA256-PAYLOAD"
        right = self._signer.chain(kind, self._previous, _EMPTY, self._digest.hexdigest())
        if not hmac.compare_digest(right, self._expected):
            raise S3Error("SignatureDoesNotMatch", close=True)
        self._previous = right

    def _end(self) -> None:
        if self._total != self.length:
            raise S3Error("IncompleteBody", close=True)
        for _ in range(_TRAILERS):
            line = self._inner.read_line(_LINE)
            if not line:
                break
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not self._with_trailers:
                raise S3Error("IncompleteBody", "A trailer is malformed.", close=True)
            self.trailers[name.strip().lower()] = value.strip()
        else:
            raise S3Error("IncompleteBody", "There are too many trailers.", close=True)
        signature = self.trailers.pop("x-amz-trailer-signature", "")
        if self._signed and self._with_trailers:
            text = "".join(f"{name}:{value}\n" for name, value in sorted(self.trailers.items()))
            digest = hashlib.sha256(text.encode("latin-1")).hexdigest()
            right = self._signer.chain("AWS4-HMAC-SHA256-TRAILER", self._previous, digest)
            if not hmac.compare_digest(right, signature):
                raise S3Error("SignatureDoesNotMatch", close=True)
        if self._inner.read_into(memoryview(bytearray(1))):
            raise S3Error("IncompleteBody", close=True)
        self._ended = True
