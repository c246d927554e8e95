"""Bucket policies: who may do what (S3 User Guide, "Bucket policies").

What isn't known here is refused when a policy is put, so that none is weaker or stronger than it reads.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from secstorage.s3.error import S3Error

_KEYS = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "Condition"}
_CONDITIONS = {
    "IpAddress": {"aws:sourceip"},
    "NotIpAddress": {"aws:sourceip"},
    "Bool": {"aws:securetransport"},
    "StringEquals": {"s3:prefix", "s3:delimiter"},
    "StringNotEquals": {"s3:prefix", "s3:delimiter"},
    "StringLike": {"s3:prefix", "s3:delimiter"},
    "StringNotLike": {"s3:prefix", "s3:delimiter"},
}
_ARN = "arn:aws:s3:::"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to do."""

    access_key: str
    """Empty for nobody in particular."""
    action: str
    resource: str
    """BUCKET or BUCKET/KEY."""
    address: str
    secure: bool
    query: Mapping[str, str]


def check(text: str, bucket: str) -> None:
    """Raises S3Error for a policy that isn't one, or that says what can't be kept to."""
    try:
        policy = json.loads(text)
        statements = _list(policy["Statement"])
        if set(policy) - {"Version", "Id", "Statement"} or not statements:
            raise S3Error("MalformedPolicy")
        for statement in statements:
            _check(statement, bucket)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise S3Error("MalformedPolicy") from None


def _check(statement: Mapping[str, Any], bucket: str) -> None:
    if set(statement) - _KEYS or statement["Effect"] not in ("Allow", "Deny"):
        raise S3Error("MalformedPolicy", "An unknown or unsupported element is in a statement.")
    if ("Action" in statement) == ("NotAction" in statement):
        raise S3Error("MalformedPolicy", "A statement needs Action or NotAction.")
    for action in _list(statement.get("Action", statement.get("NotAction"))):
        if action != "*" and not action.startswith("s3:"):
            raise S3Error("MalformedPolicy", "Policy has invalid action")
    for resource in _list(statement["Resource"]):
        inside = resource.removeprefix(_ARN)
        if inside == resource or inside.partition("/")[0] != bucket:
            raise S3Error("MalformedPolicy", "Policy has invalid resource")
    _principals(statement["Principal"])
    for operator, values in statement.get("Condition", {}).items():
        if operator not in _CONDITIONS:
            raise S3Error("MalformedPolicy", f"The condition {operator} is not supported.")
        for name, wanted in values.items():
            if name.lower() not in _CONDITIONS[operator]:
                raise S3Error(
                    "MalformedPolicy", f"The condition key {name} is not supported with {operator}."
                )
            for each in _list(wanted):
                if operator.endswith("IpAddress"):
                    ip_network(each, strict=False)
                elif not isinstance(each, str | bool):
                    raise S3Error("MalformedPolicy")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _principals(value: Any) -> list[str]:
    if value == "*":
        return ["*"]
    if not isinstance(value, dict) or set(value) != {"AWS"}:
        raise S3Error("MalformedPolicy", "Invalid principal in policy")
    found = _list(value["AWS"])
    if not all(isinstance(each, str) for each in found):
        raise S3Error("MalformedPolicy", "Invalid principal in policy")
    return [each.rpartition("/")[2] if each.startswith("arn:") else each for each in found]


@lru_cache(maxsize=128)
def _statements(text: str) -> list[dict[str, Any]]:
    return _list(json.loads(text)["Statement"])


def says(text: str, asked: Asked) -> bool | None:
    """True if a policy allows it, False if it denies it, None if it says nothing of it."""
    answer = None
    for statement in _statements(text):
        if _applies(statement, asked):
            if statement["Effect"] == "Deny":
                return False
            answer = True
    return answer


def is_public(text: str) -> bool:
    return any(
        each["Effect"] == "Allow" and "*" in _principals(each["Principal"]) and "Condition" not in each
        for each in _statements(text)
    )


def _applies(statement: Mapping[str, Any], asked: Asked) -> bool:
    principals = _principals(statement["Principal"])
    if "*" not in principals and (not asked.access_key or asked.access_key not in principals):
        return False
    named = _list(statement.get("Action", statement.get("NotAction")))
    fits = any(fnmatchcase(asked.action.lower(), each.lower()) for each in named)
    if fits != ("Action" in statement):
        return False
    if not any(_like(_ARN + asked.resource, each) for each in _list(statement["Resource"])):
        return False
    conditions = statement.get("Condition", {}).items()
    return all(
        _holds(operator, name.lower(), _list(wanted), asked)
        for operator, values in conditions
        for name, wanted in values.items()
    )


def _like(text: str, pattern: str) -> bool:
    # Brackets are no more than brackets here.
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _holds(operator: str, name: str, wanted: list[Any], asked: Asked) -> bool:
    if name == "aws:sourceip":
        address = ip_address(asked.address)
        mapped = getattr(address, "ipv4_mapped", None)
        inside = any((mapped or address) in ip_network(each, strict=False) for each in wanted)
        return inside == (operator == "IpAddress")
    if name == "aws:securetransport":
        return any(str(each).lower() == str(asked.secure).lower() for each in wanted)
    text = asked.query.get(name.removeprefix("s3:"))
    if operator.startswith("StringNot"):
        return text is None or not any(_same(operator, text, each) for each in wanted)
    return text is not None and any(_same(operator, text, each) for each in wanted)


def _same(operator: str, text: str, wanted: str) -> bool:
    return _like(text, wanted) if operator.endswith("Like") else text == wanted
