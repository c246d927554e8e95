"""Who asks: AWS Signature Version 4 in the header and in the query, and version 2 in the query, which the
AWS CLI still presigns with for endpoints that aren't Amazon's (S3 API Reference, "Authenticating Requests").
"""

import calendar
import hashlib
import hmac
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from secstorage.s3.error import S3Error
from secstorage.s3.http.request import Request, pairs

SKEW_SECONDS = 900
_LONGEST_SECONDS = 604_800
_ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
_FIELD = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*")
_DATE = re.compile(r"\d{8}T\d{6}Z")
_SAFE = re.compile(r"[A-Za-z0-9\-._~/]*")
_SPACES = re.compile(r" +")
# What a query can ask that a version 2 signature is about, too.
_SUBRESOURCES = frozenset(
    [
        "acl",
        "cors",
        "delete",
        "lifecycle",
        "location",
        "logging",
        "notification",
        "partNumber",
        "policy",
        "requestPayment",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
        "response-content-type",
        "response-content-language",
        "response-expires",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
    ]
)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed, and what their further signatures, of chunks and trailers, are made with."""

    access_key: str
    payload: str = UNSIGNED
    """What was signed as x-amz-content-sha256."""
    key: bytes = b""
    date: str = ""
    scope: str = ""
    signature: str = ""

    def chain(self, kind: str, previous: str, *digests: str) -> str:
        """The next signature of a chain."""
        text = "\n".join([kind, self.date, self.scope, previous, *digests])
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()


def signer(request: Request, secrets: Mapping[str, str], *, region: str, now: float) -> Signer | None:
    """None for an anonymous request. Raises S3Error."""
    header = request.headers.get("authorization")
    query = request.query
    if header is not None:
        if "X-Amz-Signature" in query or "Signature" in query:
            raise S3Error("InvalidArgument", "Only one auth mechanism allowed")
        if not header.startswith(_ALGORITHM + " "):
            raise S3Error(
                "InvalidRequest", "The authorization mechanism is not supported. Use AWS4-HMAC-SHA256."
            )
        return _by_header(request, header, secrets, region, now)
    if "X-Amz-Algorithm" in query or "X-Amz-Signature" in query or "X-Amz-Credential" in query:
        return _by_query(request, secrets, region, now)
    if "AWSAccessKeyId" in query and "Signature" in query:
        return _by_query_2(request, secrets, now)
    return None


def _by_header(request: Request, header: str, secrets: Mapping[str, str], region: str, now: float) -> Signer:
    code = "AuthorizationHeaderMalformed"
    fields: dict[str, str] = {}
    for each in header[len(_ALGORITHM) + 1 :].split(","):
        found = _FIELD.fullmatch(each)
        if found is None or found[1] in fields:
            raise S3Error(code)
        fields[found[1]] = found[2]
    if len(fields) != 3:
        raise S3Error(code)
    date = request.headers.get("x-amz-date") or _iso_date(request.headers.get("date", ""))
    if not date or not _DATE.fullmatch(date):
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    payload = request.headers.get("x-amz-content-sha256")
    if payload is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    access_key, day, scope = _scope(fields["Credential"], region, code)
    secret = _secret(secrets, access_key)
    if day != date[:8]:
        raise S3Error(code, "The date in the credential scope does not match the date of the request.")
    if abs(_seconds(date) - now) > SKEW_SECONDS:
        elements = {"RequestTime": date, "ServerTime": _iso(now), "MaxAllowedSkewMilliseconds": "900000"}
        raise S3Error("RequestTimeTooSkewed", elements=elements)
    names = fields["SignedHeaders"].split(";")
    _all_signed(request, names)
    key = signing_key(secret, day, region)
    query = canonical_query(request.raw_query)
    expected = _signature(request, query, names, payload, date, scope, key, access_key)
    if not hmac.compare_digest(expected, fields["Signature"]):
        raise S3Error("SignatureDoesNotMatch", elements={"AWSAccessKeyId": access_key})
    return Signer(access_key, payload, key, date, scope, expected)


def _by_query(request: Request, secrets: Mapping[str, str], region: str, now: float) -> Signer:
    code = "AuthorizationQueryParametersError"
    query = request.query
    try:
        algorithm, credential, date, expires, signed, signature = (
            query[f"X-Amz-{name}"]
            for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
        )
    except KeyError:
        raise S3Error(
            code,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
            "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        ) from None
    if algorithm != _ALGORITHM or not _DATE.fullmatch(date):
        raise S3Error(code)
    if not expires.isascii() or not expires.isdigit() or not 1 <= int(expires) <= _LONGEST_SECONDS:
        raise S3Error(code, "X-Amz-Expires must be between 1 and 604800 seconds")
    access_key, day, scope = _scope(credential, region, code)
    secret = _secret(secrets, access_key)
    begin = _seconds(date)
    if day != date[:8]:
        raise S3Error(code, "The date in the credential scope does not match X-Amz-Date.")
    if begin - now > SKEW_SECONDS:
        raise S3Error("AccessDenied", "Request is not yet valid")
    if now > begin + int(expires):
        elements = {"X-Amz-Expires": expires, "Expires": _iso(begin + int(expires)), "ServerTime": _iso(now)}
        raise S3Error("AccessDenied", "Request has expired", elements=elements)
    names = signed.split(";")
    _all_signed(request, names, besides=frozenset({"x-amz-content-sha256"}))
    payload = request.headers.get("x-amz-content-sha256", UNSIGNED)
    key = signing_key(secret, day, region)
    canonical = canonical_query(request.raw_query, without="X-Amz-Signature")
    expected = _signature(request, canonical, names, payload, date, scope, key, access_key)
    if not hmac.compare_digest(expected, signature):
        # Some clients sign UNSIGNED-PAYLOAD whatever they send in the header.
        expected = _signature(request, canonical, names, UNSIGNED, date, scope, key, access_key)
        if not hmac.compare_digest(expected, signature):
            raise S3Error("SignatureDoesNotMatch", elements={"AWSAccessKeyId": access_key})
    return Signer(access_key, payload, key, date, scope, expected)


def _by_query_2(request: Request, secrets: Mapping[str, str], now: float) -> Signer:
    query = request.query
    access_key, expires = query["AWSAccessKeyId"], query.get("Expires", "")
    secret = _secret(secrets, access_key)
    if not expires.isascii() or not expires.isdigit():
        raise S3Error("AccessDenied", "Invalid Expires value")
    if now > int(expires):
        raise S3Error("AccessDenied", "Request has expired", elements={"ServerTime": _iso(now)})
    if int(expires) > now + _LONGEST_SECONDS + SKEW_SECONDS:
        raise S3Error("AccessDenied", "Expires is more than seven days from now")
    amz = sorted((name, value) for name, value in request.headers.items() if name.startswith("x-amz-"))
    chosen = sorted((name, value) for name, value in pairs(request.raw_query) if name in _SUBRESOURCES)
    resource = request.raw_path
    if chosen:
        resource += "?" + "&".join(f"{name}={value}" if value else name for name, value in chosen)
    text = "\n".join(
        [
            request.method,
            request.headers.get("content-md5", ""),
            request.headers.get("content-type", ""),
            expires,
            *(f"{name}:{value}" for name, value in amz),
            resource,
        ]
    )
    digest = hmac.new(secret.encode(), text.encode("latin-1", "replace"), hashlib.sha1).digest()
    if not hmac.compare_digest(b64encode(digest).decode(), query["Signature"]):
        raise S3Error("SignatureDoesNotMatch", elements={"AWSAccessKeyId": access_key})
    return Signer(access_key)


def _scope(credential: str, region: str, code: str) -> tuple[str, str, str]:
    parts = credential.rsplit("/", 4)
    if (
        len(parts) != 5
        or parts[3] != "s3"
        or parts[4] != "aws4_request"
        or not re.fullmatch(r"\d{8}", parts[1])
    ):
        raise S3Error(
            code, "The credential is malformed: ACCESS-KEY/YYYYMMDD/REGION/s3/aws4_request is expected."
        )
    if parts[2] != region:
        message = f"The region '{parts[2]}' is wrong; expecting '{region}'"
        raise S3Error(code, message, elements={"Region": region})
    return parts[0], parts[1], "/".join(parts[1:])


def _secret(secrets: Mapping[str, str], access_key: str) -> str:
    secret = secrets.get(access_key)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", elements={"AWSAccessKeyId": access_key})
    return secret


def _all_signed(request: Request, names: list[str], besides: frozenset[str] = frozenset()) -> None:
    missing = {name for name in request.headers if name.startswith("x-amz-")} - set(names) - besides
    if "host" not in names or missing:
        elements = {"HeadersNotSigned": ", ".join(sorted(missing) or ["host"])}
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            elements=elements,
        )


def _signature(
    request: Request,
    query: str,
    names: list[str],
    payload: str,
    date: str,
    scope: str,
    key: bytes,
    access_key: str,
) -> str:
    headers = request.headers
    lines = [f"{name}:{_SPACES.sub(' ', headers.get(name, '')).strip()}" for name in names]
    canonical = "\n".join(
        [request.method, canonical_path(request.raw_path), query, *lines, "", ";".join(names), payload]
    )
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = f"{_ALGORITHM}\n{date}\n{scope}\n{digest}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def canonical_path(raw: str) -> str:
    """Percent-encoded as SigV4 has it, however the client encoded it."""
    if _SAFE.fullmatch(raw):
        return raw
    return quote(unquote_to_bytes(raw.encode("latin-1")), safe="/-_.~")


def canonical_query(raw: str, *, without: str = "") -> str:
    """Sorted, percent-encoded, without one parameter."""
    if not raw:
        return ""
    encoded = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in pairs(raw)
        if name != without
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


@lru_cache(maxsize=256)
def signing_key(secret: str, day: str, region: str) -> bytes:
    """Of one secret, day and region."""
    key = b"AWS4" + secret.encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _iso(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _iso_date(text: str) -> str:
    if _DATE.fullmatch(text):
        return text
    try:
        return parsedate_to_datetime(text).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, TypeError):
        return ""


@lru_cache(maxsize=64)
def _seconds(date: str) -> float:
    try:
        return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise S3Error("AccessDenied", "The date of the request is invalid") from None
