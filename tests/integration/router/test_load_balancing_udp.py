"""Load balancers of udp: flows are led to servers by the kernel."""

import itertools
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from balanced import balancer, opened
from router_document import document
from router_lab import FAR, PUBLIC, WEB, Lab

PORT = 5300


@pytest.fixture(scope="module")
def _servers(shared_lab: Lab) -> Iterator[None]:
    for name in ("vm1", "vm2", "vm3"):
        shared_lab.serve(name, 5353, udp=True)
    yield


@pytest.fixture
def balanced(lab: Lab, _servers: None) -> Lab:
    put(lab)
    return lab


def put(lab: Lab, **fields: Any) -> None:
    servers = {
        "vm1": {"address": "10.1.1.10", "port": 5353},
        "vm2": {"address": "10.1.1.11", "port": 5353, "weight": 3},
    }
    names = balancer(PUBLIC, PORT, servers, mode="udp", **fields)
    lab.put(opened({**document(), "load_balancers": {"names": names}}, (PUBLIC, "udp", PORT)))


_ports = itertools.count(20_000)
"""Of clients: each flow is one that connection tracking hasn't seen."""


def answers(lab: Lab, count: int, *, source: str = "") -> Counter[str]:
    """Which servers answer so many flows."""
    return Counter(asked(lab, source) for _ in range(count))


def asked(lab: Lab, source: str) -> str:
    with lab["net"].socket(socket.SOCK_DGRAM) as flow:
        flow.bind((source, next(_ports)))
        flow.connect((PUBLIC, PORT))
        try:
            flow.send(b"?")
            return flow.recv(200).decode().partition(":")[0]
        except OSError:
            return "None"


def test_statistics_tell_the_flows_of_each_server(balanced: Lab) -> None:
    lab = balanced
    lab.run("conntrack", "-D", "-p", "udp", "--orig-dst", PUBLIC, check=False)
    found = answers(lab, 20)
    told = lab.get("/v1/load-balancers")["names"]
    assert (told["status"], told["sessions"]) == ("OPEN", 20)
    servers = {name: (item["sessions"], item["status"]) for name, item in told["servers"].items()}
    assert servers == {name: (found[name], "no check") for name in ("vm1", "vm2")}
    assert told["servers"]["vm2"]["address"] == "10.1.1.11:5353"
    metrics = lab.request("GET", "/metrics").text
    assert (
        f'sysvm_load_balancer_server_sessions{{load_balancer="names",server="vm1"}} {found["vm1"]}'
        in metrics
    )
    lab.patch({"load_balancers": {"names": {"servers": {"vm2": {"state": "drain"}}}}})
    assert lab.get("/v1/load-balancers")["names"]["servers"]["vm2"]["status"] == "DRAIN"
    assert lab.drift() == []


def test_flows_are_spread_by_weight(balanced: Lab) -> None:
    lab = balanced
    found = answers(lab, 200)
    # Of 200, 50 are expected; 3.7 standard deviations around that.
    assert found.keys() == {"vm1", "vm2"}
    assert 28 <= found["vm1"] <= 73, found
    lab.patch({"load_balancers": {"names": {"servers": {"vm2": {"state": "drain"}}}}})
    assert answers(lab, 20) == {"vm1": 20}
    lab.patch({"load_balancers": {"names": {"servers": {"vm1": {"state": "maintenance"}}}}})
    assert answers(lab, 2) == {"None": 2}, "none is left"
    backup = {"address": "10.1.2.10", "port": 5353, "backup": True}
    lab.patch({"load_balancers": {"names": {"servers": {"vm3": backup}}}})
    assert answers(lab, 10) == {"vm3": 10}
    assert lab.drift() == []


def test_a_flow_stays_where_it_is(balanced: Lab) -> None:
    lab = balanced
    with lab["net"].socket(socket.SOCK_DGRAM) as flow:
        flow.connect((PUBLIC, PORT))

        def again() -> str:
            flow.send(b"?")
            return flow.recv(200).decode().partition(":")[0]

        name = again()
        for state in ("drain", "maintenance"):
            lab.patch({"load_balancers": {"names": {"servers": {name: {"state": state}}}}})
            assert {again() for _ in range(5)} == {name}
            assert name not in answers(lab, 5)


def test_a_source_has_its_server(lab: Lab, _servers: None) -> None:
    put(lab, stickiness={"source": {}})
    sources = [f"203.0.113.{number}" for number in range(100, 124)]
    for source in sources:
        lab["net"].run("ip", "address", "add", f"{source}/24", "dev", "eth0")
    try:
        before = {source: answers(lab, 4, source=source) for source in sources}
        # The table is made anew, with the same hash.
        lab.patch({"fast_path": False})
        after = {source: answers(lab, 4, source=source) for source in sources}
    finally:
        for source in sources:
            lab["net"].run("ip", "address", "del", f"{source}/24", "dev", "eth0")
    assert all(len(servers) == 1 for servers in before.values())
    assert {name for servers in before.values() for name in servers} == {"vm1", "vm2"}
    assert after == before


def test_only_from_chosen_sources(lab: Lab, _servers: None) -> None:
    put(lab, source_cidrs=[f"{WEB}/32"])
    assert sum(answers(lab, 3, source=WEB).values()) == 3
    assert "None" not in answers(lab, 3, source=WEB)
    assert lab["net"].refused(PUBLIC, PORT, udp=True, source=FAR)
    assert lab["net"].refused(PUBLIC, PORT, udp=True)


def test_the_firewall_opens_it(lab: Lab, _servers: None) -> None:
    put(lab)
    lab.patch({"firewall": {"ingress": {"rules": {f"lb-udp-{PUBLIC}-{PORT}": None}}}})
    assert lab["net"].refused(PUBLIC, PORT, udp=True)


def test_an_internal_one(lab: Lab, _servers: None) -> None:
    servers = {"vm1": {"address": "10.1.1.10", "port": 5353}}
    lab.put({**document(), "load_balancers": {"in": balancer("10.1.2.1", PORT, servers, mode="udp")}})
    assert lab["vm3"].ask("10.1.2.1", PORT, udp=True) == "vm1:5353 saw 10.1.2.10"
    # A server's neighbour: the answer must come back the same way.
    assert lab["vm2"].ask("10.1.2.1", PORT, udp=True) is not None
    assert lab["net"].refused(PUBLIC, PORT, udp=True)
