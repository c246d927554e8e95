"""Access lists of five thousand rules: all of them at once, and one that comes, changes or goes."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from tests.bench import documents
from tests.bench.benchmark import Say, milliseconds, table
from tests.bench.lab import Lab, laboratory

TITLE = "Access lists: 5,000 rules at once, and one more"
_COUNT = 5_000
_PUTS, _PATCHES = 3, 11
_NUMBERS = range(_PATCHES)
_PORTS = [22, 80, 443, "8000-8099", 3306, 5432, "9000-9010"]
_LAST = 65_535
Rules = dict[str, dict[str, Any]]


_WIDE = {
    "number": _LAST - 1,
    "direction": "ingress",
    "verdict": "accept",
    "protocol": "tcp",
    "ports": ["1-65535"],
    "cidrs": ["198.18.0.0/15"],
}
"""Behind four rules in five, and before the last."""
_LOGGED = {
    "number": _LAST - 1,
    "direction": "ingress",
    "verdict": "drop",
    "protocol": "tcp",
    "ports": [7],
    "cidrs": ["192.0.2.1/32"],
    "log": True,
}


def run(say: Say) -> str:
    rows = []
    with laboratory() as lab:
        for what, document, name in (
            ("one list", _whole(1), "list0"),
            ("one list, all about one port", _whole(1, same_port=True), "list0"),
            ("fifty lists", _whole(50), "list7"),
        ):
            say(f"{_COUNT:,} rules, {what}")
            rows += _measured(lab, what, document, name)
    return "\n\n".join(
        [
            f"{_COUNT:,} rules: four in five about one host and a port or a range of them, some about a "
            "network, of either family, each fiftieth a drop; and one last that drops the rest. PUT to a "
            "router that has none; then one change beside them. Over HTTPS, applied and verified when the "
            f"answer comes; medians of {_PUTS} and {_PATCHES}.",
            table(["", "ms", "of it applying"], rows),
        ]
    )


def _measured(lab: Lab, what: str, document: Mapping[str, Any], name: str) -> Iterator[list[object]]:
    none = {**document, "acls": {each: {} for each in document["acls"]}}
    puts = []
    for _ in range(_PUTS):
        lab.put(none)
        puts.append(lab.put(document))
    yield _row(what, puts)
    steps: Mapping[str, list[Rules]] = {
        "one rule more": [{f"more{number}": _rule(_COUNT + number)} for number in _NUMBERS],
        "its ports change": [
            {f"more{number}": {**_rule(_COUNT + number), "ports": [4000 + number]}} for number in _NUMBERS
        ],
        "it goes": [{f"more{number}": None} for number in _NUMBERS],  # type: ignore[dict-item]
    }
    for step, patches in steps.items():
        taken = [lab.patch({"acls": {name: {"rules": rules}}}) for rules in patches]
        yield _row(f"{what}: {step}", taken)
    for step, rule in (("a rule that opens another layer", _WIDE), ("a rule that logs", _LOGGED)):
        come, gone = [], []
        for _ in range(_PATCHES):
            come.append(lab.patch({"acls": {name: {"rules": {"more": rule}}}}))
            gone.append(lab.patch({"acls": {name: {"rules": {"more": None}}}}))
        yield _row(f"{what}: {step}", come)
        yield _row(f"{what}: it goes", gone)


def _row(what: str, taken: list[tuple[float, Any]]) -> list[object]:
    whole = median(seconds for seconds, _ in taken)
    applying = median(report.seconds or 0 for _, report in taken)
    return [what, milliseconds(whole), milliseconds(applying)]


def _whole(lists: int, *, same_port: bool = False) -> dict[str, Any]:
    """A tier of each list; the first is on the guests' network."""
    document = documents.empty()
    del document["firewall"]["egress"]
    each = _COUNT // lists
    document["acls"] = {
        f"list{place}": {
            "rules": {
                **{f"rule{number}": _rule(number, same_port=same_port) for number in range(each - 1)},
                "rest": {"number": _LAST, "direction": "ingress", "verdict": "drop"},
            }
        }
        for place in range(lists)
    }
    document["tiers"] = {"guest0": {"acl": "list0"}}
    return document


def _rule(number: int, *, same_port: bool = False) -> dict[str, Any]:
    far = f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}/32"
    if number % 5 == 4:
        far = f"2001:db8:{number:x}::/48" if number % 2 else f"100.{64 + number // 256}.{number % 256}.0/24"
    return {
        "number": 1 + number,
        "direction": "ingress",
        "verdict": "accept" if number % 50 else "drop",
        "protocol": "tcp" if number % 7 else "udp",
        "ports": [443 if same_port else _PORTS[number % len(_PORTS)]],
        "cidrs": [far],
    }
