"""Static routes with several next hops, and next hops that are watched."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from flows import Echo, Flow
from router_lab import Client, until
from vpc_lab import TIERS, VpcLab, document

FAR, FAR6 = "172.21.0.10", "fd00:21::10"
"""Behind the hops."""
HOPS = {"one": ("172.16.0.11", "fd00:16::11"), "two": ("172.16.0.12", "fd00:16::12")}
WATCH = {"interval_milliseconds": 200, "losses": 2}
PORT = 83


@pytest.fixture(scope="module")
def hops(vpc: VpcLab) -> dict[str, Client]:
    """Two routers to one far address, which each has for itself: who answers says which way it was."""
    found = {}
    for number, (name, (address, address6)) in enumerate(HOPS.items(), 1):
        hop = vpc.client(f"hop-{name}", "private0", f"02:00:ac:10:01:0{number}", f"{address}/24",
                         local=(FAR,))  # fmt: skip
        hop.run("ip", "route", "add", "10.2.0.0/16", "via", "172.16.0.2")
        for text, length in ((address6, 64), (FAR6, 128)):
            hop.run("ip", "address", "add", f"{text}/{length}", "dev", "eth0", "nodad")
        hop.run("ip", "route", "add", "fd00:2::/32", "via", "fd00:16::2")
        for version in (4, 6):
            vpc.serve(f"hop-{name}", PORT, version=version)
        found[name] = hop
    return found


@pytest.fixture
def lab(vpc: VpcLab, hops: dict[str, Client]) -> Iterator[VpcLab]:
    vpc.ready()
    vpc.put(wanted())
    # An address that has just come is nobody's until nobody has claimed it (RFC 4862, section 5.4).
    shown = ("ip", "-6", "address", "show", "dev", "private0")
    until(lambda: "tentative" not in vpc.run(*shown), what="the address of IPv6")
    yield vpc
    for hop in hops.values():
        present(hop)
    vpc.put(document())


def wanted(**routes: Any) -> dict[str, Any]:
    value = document()
    value["interfaces"]["private0"]["addresses"].append("fd00:16::2/64")
    value["routes"] |= routes
    return value


def shared(version: int = 4, **fields: Any) -> dict[str, Any]:
    hops = {
        name: {"gateway": each[0 if version == 4 else 1], **({"weight": 3} if name == "one" else {})}
        for name, each in HOPS.items()
    }
    destination = "172.21.0.0/16" if version == 4 else "fd00:21::/64"
    return {"destination": destination, "next_hops": hops, **fields}


def single(name: str, **fields: Any) -> dict[str, Any]:
    return {"destination": "172.21.0.0/16", "gateway": HOPS[name][0], **fields}


def absent(hop: Client) -> None:
    """Nobody answers for it any more, as if its power was cut."""
    hop.run("ip", "link", "set", "eth0", "down")


def present(hop: Client) -> None:
    number = "1" if hop.name == "hop-one" else "2"
    hop.run("ip", "link", "set", "eth0", "up")
    for text in (f"fd00:16::1{number}/64", f"{FAR6}/128"):
        hop.run("ip", "-6", "address", "replace", text, "dev", "eth0", "nodad")
    hop.run("ip", "route", "replace", "10.2.0.0/16", "via", "172.16.0.2")
    hop.run("ip", "route", "replace", "fd00:2::/32", "via", "fd00:16::2")


def ways(lab: VpcLab, count: int = 1, address: str = FAR) -> dict[str, int]:
    """Which hop answered how many of so many connections."""
    found: dict[str, int] = {}
    for _ in range(count):
        answer = lab["a"].ask(address, PORT)
        name = "" if answer is None else answer.partition(":")[0].removeprefix("hop-")
        found[name] = found.get(name, 0) + 1
    return found


def up(lab: VpcLab) -> dict[str, bool]:
    routes = lab.status()["routes"]
    return {hop["gateway"]: hop["up"] for route in routes for hop in route["next_hops"]}


@pytest.mark.parametrize("version", [4, 6])
def test_flows_are_shared_out_by_weight(lab: VpcLab, version: int) -> None:
    lab.put(wanted(far=shared(version)))
    address = FAR if version == 4 else FAR6
    until(lambda: "" not in ways(lab, 8, address), what="neighbours that know one another")
    found = ways(lab, 80, address)
    assert found.keys() == {"one", "two"}
    # Three of four; of 80 by chance hardly ever less than 40 or more than 77.
    assert 40 <= found["one"] <= 77, found
    assert lab.drift() == []
    # Changed where it is, and gone.
    value = shared(version)
    value["next_hops"]["one"]["weight"] = 1
    lab.put(wanted(far=value))
    assert "weight 3" not in lab.run("ip", f"-{version}", "route")
    assert lab.drift() == []
    del value["next_hops"]["one"]
    lab.put(wanted(far=value))
    assert ways(lab, 5, FAR if version == 4 else FAR6) == {"two": 5}
    assert lab.drift() == []
    lab.put(wanted())
    assert "21:" not in lab.run("ip", "-6", "route") and "172.21" not in lab.run("ip", "route")
    assert lab.drift() == []


@pytest.mark.parametrize("version", [4, 6])
def test_a_next_hop_that_dies_is_left_out_until_it_is_back(
    lab: VpcLab, hops: dict[str, Client], version: int
) -> None:
    address = FAR if version == 4 else FAR6
    index = 0 if version == 4 else 1
    lab.put(wanted(far=shared(version, watch=WATCH)))
    until(lambda: ways(lab, 20, address).keys() == {"one", "two"}, seconds=30, what="both")
    assert up(lab) == {each[index]: True for each in HOPS.values()}
    absent(hops["one"])
    until(lambda: not up(lab)[HOPS["one"][index]], seconds=30, what="it is seen")
    assert ways(lab, 20, address) == {"two": 20}
    assert lab.drift() == [], "as it is to be"
    assert lab.status()["state"] == "converged"
    check = next(
        each for each in lab.get("/v1/health?fresh")["checks"] if HOPS["one"][index] in each["name"]
    )
    assert not check["ok"]
    text = lab.request("GET", "/metrics").text
    assert f'gateway="{HOPS["one"][index]}",link="private0"}} 0' in text
    assert f'gateway="{HOPS["two"][index]}",link="private0"}} 1' in text
    present(hops["one"])
    until(lambda: up(lab)[HOPS["one"][index]], seconds=30, what="it is back")
    assert until(lambda: ways(lab, 20, address).keys() == {"one", "two"}, seconds=30)
    assert lab.drift() == []


def test_without_its_next_hop_a_route_falls_to_the_next_best(lab: VpcLab, hops: dict[str, Client]) -> None:
    probe = {**WATCH, "probe": "ping"}
    lab.put(wanted(first=single("one", metric=10, watch=probe), second=single("two", metric=20)))
    assert ways(lab, 5) == {"one": 5}
    absent(hops["one"])
    until(lambda: not up(lab)[HOPS["one"][0]], seconds=30, what="it is seen")
    assert ways(lab, 5) == {"two": 5}
    assert lab.drift() == []
    # A change of the document, and drift, don't bring it back.
    lab.patch({"routes": {"second": {"metric": 30}}})
    lab.sh("ip route del 172.21.0.0/16 metric 30")
    lab.settled()
    until(lambda: ways(lab) == {"two": 1}, seconds=40, what="the drift is healed")
    present(hops["one"])
    until(lambda: up(lab)[HOPS["one"][0]], seconds=30, what="it is back")
    until(lambda: ways(lab) == {"one": 1}, what="by the better one")
    assert lab.drift() == []


def test_a_flow_goes_on_by_the_hop_that_is_left(lab: VpcLab, hops: dict[str, Client]) -> None:
    lab.put(wanted(first=single("one", metric=10, watch=WATCH), second=single("two", metric=20)))
    echoes = [Echo(hop, PORT + 1, udp=True, address=FAR) for hop in hops.values()]
    try:
        with Flow(lab["a"], FAR, PORT + 1, udp=True, interval=0.02) as flow:
            until(lambda: len(flow.answered) > 10, what="answers")
            absent(hops["one"])
            until(lambda: not up(lab)[HOPS["one"][0]], seconds=30, what="it is seen")
            count = len(flow.answered)
            until(lambda: len(flow.answered) > count + 10, seconds=20, what="answers by the other")
        assert {peer.rpartition(":")[0] for peer in flow.seen} == {TIERS["a"]}
    finally:
        for echo in echoes:
            echo.close()


def test_a_watched_route_is_there_before_anybody_was_asked(lab: VpcLab) -> None:
    """And an agent that begins anew takes nothing for dead."""
    lab.put(wanted(far=single("one", watch=WATCH)))
    with lab["a"].socket() as connection:
        connection.connect((FAR, PORT))
        lab.kill_agent()
        lab.settled()
        connection.send(b"?")
        connection.settimeout(5)
        assert connection.recv(100).startswith(b"hop-one")
        assert connection.family == socket.AF_INET
    assert lab.drift() == []
