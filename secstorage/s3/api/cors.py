"""Cross-origin requests (S3 User Guide, "Using cross-origin resource sharing"; the Fetch standard)."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from secstorage.s3.api import markup
from secstorage.s3.api.call import Call
from secstorage.s3.api.markup import Node
from secstorage.s3.error import S3Error
from secstorage.s3.http.request import Request
from secstorage.s3.http.response import Response

_METHODS = frozenset({"GET", "PUT", "HEAD", "POST", "DELETE"})
_MOST = 100
_VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
Rule = Mapping[str, Any]


def read(content: bytes) -> tuple[Rule, ...]:
    """Rules of a CORSConfiguration. Raises S3Error."""
    rules = markup.parse(content, "CORSConfiguration").all("CORSRule")
    if not 0 < len(rules) <= _MOST:
        raise S3Error("MalformedXML")
    return tuple(_rule(each) for each in rules)


def _rule(node: Node) -> Rule:
    rule: dict[str, Any] = {
        "methods": [each.value for each in node.all("AllowedMethod")],
        "origins": [each.value for each in node.all("AllowedOrigin")],
        "headers": [each.value for each in node.all("AllowedHeader")],
        "expose": [each.value for each in node.all("ExposeHeader")],
    }
    if not rule["methods"] or not rule["origins"]:
        raise S3Error("MalformedXML")
    if set(rule["methods"]) - _METHODS:
        raise S3Error("InvalidRequest", "Found unsupported HTTP method in CORS config.")
    if any(each.count("*") > 1 for each in [*rule["origins"], *rule["headers"]]):
        raise S3Error(
            "InvalidRequest", "AllowedOrigin and AllowedHeader can not have more than one wildcard."
        )
    seconds = node.text("MaxAgeSeconds", "")
    if seconds:
        if not seconds.isascii() or not seconds.isdigit():
            raise S3Error("MalformedXML")
        rule["seconds"] = int(seconds)
    if node.text("ID", ""):
        rule["id"] = node.text("ID")
    return rule


def written(rules: Iterable[Rule]) -> bytes:
    tags = (
        ("methods", "AllowedMethod"),
        ("origins", "AllowedOrigin"),
        ("headers", "AllowedHeader"),
        ("expose", "ExposeHeader"),
    )
    parts = []
    for rule in rules:
        inside = [markup.element("ID", rule["id"])] if "id" in rule else []
        inside += [markup.element(tag, value) for name, tag in tags for value in rule[name]]
        if "seconds" in rule:
            inside.append(markup.element("MaxAgeSeconds", rule["seconds"]))
        parts.append(markup.group("CORSRule", inside))
    return markup.document("CORSConfiguration", parts)


def _fits(rule: Rule, origin: str, method: str, asked: list[str]) -> bool:
    return (
        method in rule["methods"]
        and any(fnmatchcase(origin, each.replace("[", "[[]")) for each in rule["origins"])
        and all(
            any(fnmatchcase(name.lower(), each.lower().replace("[", "[[]")) for each in rule["headers"])
            for name in asked
        )
    )


def _headers(rule: Rule, origin: str) -> dict[str, str]:
    headers = {"Access-Control-Allow-Methods": ", ".join(rule["methods"]), "Vary": _VARY}
    if "*" in rule["origins"]:
        headers["Access-Control-Allow-Origin"] = "*"
    else:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
    if rule["expose"]:
        headers["Access-Control-Expose-Headers"] = ", ".join(rule["expose"])
    if "seconds" in rule:
        headers["Access-Control-Max-Age"] = str(rule["seconds"])
    return headers


def preflight(call: Call) -> Response:
    """What a browser asks before it asks. Needs no signature."""
    headers = call.request.headers
    origin, method = headers.get("origin"), headers.get("access-control-request-method")
    if not origin or not method:
        raise S3Error("InvalidRequest", "Insufficient information. Origin request header needed.")
    asked = [
        each.strip() for each in headers.get("access-control-request-headers", "").split(",") if each.strip()
    ]
    for rule in call.bucket.settings.cors:
        if _fits(rule, origin, method, asked):
            allowed = _headers(rule, origin)
            if asked:
                allowed["Access-Control-Allow-Headers"] = ", ".join(asked).lower()
            return Response(200, allowed)
    raise S3Error("AccessDenied", "CORSResponse: This CORS request is not allowed.")


def headers(request: Request, rules: Iterable[Rule]) -> dict[str, str]:
    """What an answer gets so that a browser shows it to the page that asked."""
    origin = request.headers.get("origin")
    if origin:
        for rule in rules:
            if _fits(rule, origin, request.method, []):
                return _headers(rule, origin)
    return {}
