"""Rules of load balancers for HTTP requests."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router.document import HttpRule, LoadBalancer
from router.http_rules import leads_back
from router.validation.repeated import repeated


def problems(item: LoadBalancer, at: tuple[str, ...], title: str) -> Iterator[Problem]:
    if item.mode != "http":
        for field in ("groups", "rules"):
            if getattr(item, field):
                yield Problem(pointer(*at, field), f"{title}: only http has {field}")
    numbers = {key: str(rule.number) for key, rule in item.rules.items()}
    for key, other, number in repeated(numbers):
        yield Problem(
            pointer(*at, "rules", key, "number"), f"{title}: rule {key}: number {number} is {other}'s, too"
        )
    for key, rule in item.rules.items():
        for place, sentence in _faults(rule, item):
            yield Problem(pointer(*at, "rules", key, *place), f"{title}: rule {key}: {sentence}")


def _faults(rule: HttpRule, item: LoadBalancer) -> Iterator[tuple[tuple[str, ...], str]]:
    if (rule.group is None) == (rule.redirect is None):
        yield (), "it is one of group and redirect"
    if rule.group is not None and rule.group not in item.groups:
        yield ("group",), f"there is no group {rule.group}"
    if rule.redirect is not None and leads_back(rule.redirect, item):
        yield ("redirect",), "it leads to where the client is already"
