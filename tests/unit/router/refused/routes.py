from typing import Any

from tests.unit.router.refused import Case


def route(**fields: Any) -> dict[str, Any]:
    return {"routes": {"new": {"destination": "10.7.0.0/16", "gateway": "10.1.1.254", **fields}}}


def hops(a: str, b: str, **fields: Any) -> dict[str, Any]:
    return route(gateway=None, next_hops={"a": {"gateway": a, **fields}, "b": {"gateway": b}})


CASES: list[Case] = [
    (route(destination="0.0.0.0/0"), "/routes/new/destination", "an interface's gateway"),
    (route(gateway="fd00:1::2"), "/routes/new/gateway", "differ in family"),
    (route(gateway="198.51.100.1"), "/routes/new/gateway", "on no interface's network"),
    (route(gateway=None), "/routes/new", "it needs a gateway, or next_hops"),
    (route(next_hops={"a": {"gateway": "10.1.1.253"}}), "/routes/new", "it needs a gateway, or next_hops"),
    (hops("10.1.1.254", "fd00:1::2"), "/routes/new/next_hops/b/gateway", "differ in family"),
    (hops("198.51.100.1", "10.1.1.254"), "/routes/new/next_hops/a/gateway", "on no interface's network"),
    (hops("10.1.1.254", "10.1.1.254"), "/routes/new/next_hops/b/gateway", "another next hop's, too"),
    (route(watch={"probe": "bfd"}), "/routes/new/watch/probe", "'neighbour' or 'ping'"),
    (route(watch={"interval_milliseconds": 10}), "/routes/new/watch/interval_milliseconds", "100"),
    (route(watch={"losses": 0}), "/routes/new/watch/losses", "1"),
    (hops("10.1.1.254", "10.1.1.253", weight=257), "/routes/new/next_hops/a/weight", "256"),
    (route(watch={"probe": "ping"}), "/routes/new/watch/probe", "the backup of a pair has no address"),
    (route(destination="10.9.0.0/16", metric=10), "/routes/new/destination", "is route lab's, too"),
]
