"""Connections as connection tracking tells them, and which of them end with a change of a document."""

from typing import Any

from appliance.engine import flows
from appliance.engine.boxes import span
from appliance.engine.conntrack import Connection, Tuple
from appliance.resources import Ruleset
from router import ruleset
from tests.examples import read


def seen(
    source: str, destination: str, port: int = 0, protocol: int = 6, *,
    reply_source: str = "", reply_port: int | None = None, reply_destination: str = "", icmp_type: int = 0,
    icmp_code: int = 0,
) -> Connection:  # fmt: skip
    original = Tuple(span(source)[0], span(destination)[0], 40000, port, icmp_type, icmp_code)
    back = Tuple(
        span(reply_source or destination)[0], span(reply_destination or source)[0],
        port if reply_port is None else reply_port, 40000, 0, 0,
    )  # fmt: skip
    version = 6 if ":" in source else 4
    return Connection(version, protocol, original, back, "", True, False, 100, None, None, b"")


def table(value: Any) -> Ruleset:
    (found,) = [
        item
        for item in ruleset.resources(read(value))
        if isinstance(item, Ruleset) and item.table == "sysvm"
    ]
    return found


def ended(before: Any, after: Any, *tracked: Connection) -> list[Connection]:
    old, new = table(before), table(after)
    changed = {gate.name for gate in new.gates} - {gate.name for gate in new.gates if gate in old.gates}
    return list(flows._ending(new, flows.gone(new, old.elements), tracked, changed=changed))
