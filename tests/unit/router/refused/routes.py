from typing import Any

from tests.unit.router.refused import Case


def route(**fields: Any) -> dict[str, Any]:
    return {"routes": {"new": {"destination": "10.7.0.0/16", "gateway": "10.1.1.254", **fields}}}


CASES: list[Case] = [
    (route(destination="0.0.0.0/0"), "/routes/new/destination", "an interface's gateway"),
    (route(gateway="fd00:1::2"), "/routes/new/gateway", "differ in family"),
    (route(gateway="198.51.100.1"), "/routes/new/gateway", "on no interface's network"),
    (route(destination="10.9.0.0/16", metric=10), "/routes/new/destination", "is route lab's, too"),
]
