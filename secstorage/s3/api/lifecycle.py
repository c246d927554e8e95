"""Lifecycle rules, as they are put and told (S3 User Guide, "Lifecycle configuration elements")."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from secstorage.s3.api import markup
from secstorage.s3.api.markup import Node
from secstorage.s3.error import S3Error

_MOST = 1000
Rule = Mapping[str, Any]


def read(content: bytes) -> tuple[Rule, ...]:
    """Raises S3Error, also for what is known to S3 but not to us: nothing is taken and then not done."""
    rules = markup.parse(content, "LifecycleConfiguration").all("Rule")
    if not 0 < len(rules) <= _MOST:
        raise S3Error("MalformedXML")
    found = tuple(_rule(each, number) for number, each in enumerate(rules))
    if len({rule["id"] for rule in found}) < len(found):
        raise S3Error("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
    return found


def _number(node: Node, name: str, least: int = 1) -> int | None:
    text = node.text(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise S3Error("InvalidArgument", f"'{name}' must be a positive integer")
    return int(text)


def _date(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise S3Error("MalformedXML") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment.timestamp() % 86400:
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    return moment.timestamp()


def _rule(node: Node, number: int) -> Rule:
    if node.child("Transition") or node.child("NoncurrentVersionTransition"):
        raise S3Error("NotImplemented", "There is one storage class: transitions are not implemented")
    status = node.text("Status")
    if status not in ("Enabled", "Disabled"):
        raise S3Error("MalformedXML")
    rule: dict[str, Any] = {"id": node.text("ID", "") or f"rule-{number + 1}", "status": status}
    rule |= _filter(node)
    expiration = node.child("Expiration")
    if expiration is not None:
        rule["days"] = _number(expiration, "Days")
        if expiration.child("Date"):
            rule["date"] = _date(expiration.text("Date"))
        rule["markers"] = expiration.text("ExpiredObjectDeleteMarker", "false") == "true"
        if sum((rule["days"] is not None, "date" in rule, rule["markers"])) != 1:
            raise S3Error("MalformedXML")
    old = node.child("NoncurrentVersionExpiration")
    if old is not None:
        rule["noncurrent_days"] = _number(old, "NoncurrentDays")
        rule["newer"] = _number(old, "NewerNoncurrentVersions") or 0
        if rule["noncurrent_days"] is None:
            raise S3Error("MalformedXML")
    abort = node.child("AbortIncompleteMultipartUpload")
    if abort is not None:
        rule["abort_days"] = _number(abort, "DaysAfterInitiation")
        if rule["abort_days"] is None:
            raise S3Error("MalformedXML")
    if expiration is None and old is None and abort is None:
        raise S3Error("InvalidRequest", "At least one action needs to be specified in a rule")
    return {name: value for name, value in rule.items() if value not in (None, False)}


def _filter(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"prefix": node.text("Prefix", "")}
    outer = node.child("Filter")
    if outer is None:
        return found
    inner = outer.child("And") or outer
    found["prefix"] = inner.text("Prefix", "")
    tags = {tag.text("Key"): tag.text("Value") for tag in inner.all("Tag")}
    if tags:
        found["tags"] = tags
    greater = _number(inner, "ObjectSizeGreaterThan", 0)
    less = _number(inner, "ObjectSizeLessThan")
    if greater is not None:
        found["greater"] = greater
    if less is not None:
        found["less"] = less
    return found


def written(rules: Iterable[Rule]) -> bytes:
    return markup.document("LifecycleConfiguration", [markup.group("Rule", _parts(rule)) for rule in rules])


def _parts(rule: Rule) -> Iterable[str]:
    yield markup.element("ID", rule["id"])
    inside = [markup.element("Prefix", rule["prefix"])] if rule.get("prefix") else []
    for name, value in rule.get("tags", {}).items():
        inside.append(markup.group("Tag", [markup.element("Key", name), markup.element("Value", value)]))
    for name, tag in (("greater", "ObjectSizeGreaterThan"), ("less", "ObjectSizeLessThan")):
        if name in rule:
            inside.append(markup.element(tag, rule[name]))
    if not inside:
        inside = [markup.element("Prefix", "")]
    yield markup.group("Filter", inside if len(inside) == 1 else [markup.group("And", inside)])
    yield markup.element("Status", rule["status"])
    expiration = []
    if "days" in rule:
        expiration.append(markup.element("Days", rule["days"]))
    if "date" in rule:
        expiration.append(markup.element("Date", markup.timestamp(rule["date"])))
    if rule.get("markers"):
        expiration.append(markup.element("ExpiredObjectDeleteMarker", "true"))
    if expiration:
        yield markup.group("Expiration", expiration)
    if "noncurrent_days" in rule:
        old = [markup.element("NoncurrentDays", rule["noncurrent_days"])]
        if rule.get("newer"):
            old.append(markup.element("NewerNoncurrentVersions", rule["newer"]))
        yield markup.group("NoncurrentVersionExpiration", old)
    if "abort_days" in rule:
        days = markup.element("DaysAfterInitiation", rule["abort_days"])
        yield markup.group("AbortIncompleteMultipartUpload", [days])
