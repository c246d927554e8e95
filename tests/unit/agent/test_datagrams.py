"""Flows of load balancers of udp, by their servers."""

from typing import Any

import pytest

from appliance.agent import datagrams
from appliance.datagrams import DatagramBalancer, DatagramServer
from appliance.engine import conntrack
from tests.unit.router.tracked import seen


def server(address: str, port: int = 53, **fields: Any) -> DatagramServer:
    values = {"weight": 1, "state": "ready", "backup": False, **fields}
    return DatagramServer(address=address, port=port, **values)


def test_flows_are_counted_by_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def flow(reply: str, port: int = 53, protocol: int = 17, to: int = 53) -> conntrack.Connection:
        return seen("198.51.100.1", "203.0.113.5", to, protocol, reply_source=reply, reply_port=port)

    flows = [
        *[flow("10.1.1.10")] * 3, flow("10.1.1.11", 5353), flow("10.1.1.11"), flow("10.1.1.10", protocol=6),
        flow("10.1.1.10", to=54), seen("2001:db8::1", "2001:db8::5", 53, 17, reply_source="fd00::1"),
    ]  # fmt: skip
    monkeypatch.setattr(conntrack, "connections", lambda: iter(flows))
    servers = {"a": server("10.1.1.10"), "b": server("10.1.1.11", 5353, state="drain"),
               "c": server("10.1.1.12", weight=0)}  # fmt: skip
    names = DatagramBalancer(name="names", address="203.0.113.5", port=53, servers=servers)
    six = DatagramBalancer(name="six", address="2001:db8::5", port=53, servers={"a": server("fd00::1")})
    found = datagrams.statistics([names, six])
    told = {name: (item["status"], item["sessions"]) for name, item in found["names"]["servers"].items()}
    assert told == {"a": ("no check", 3), "b": ("DRAIN", 1), "c": ("DRAIN", 0)}
    assert found["names"]["sessions"] == 4
    assert found["six"]["servers"]["a"]["address"] == "[fd00::1]:53"
    assert found["six"]["sessions"] == 1


def test_nobody_is_asked_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "connections", None)
    assert datagrams.statistics([]) == {}
