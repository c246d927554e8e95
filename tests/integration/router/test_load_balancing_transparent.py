"""Load balancers whose servers see clients' own addresses, by IPv4 and IPv6."""

from collections.abc import Iterator
from typing import Any

import pytest
from balanced import Behaviour, Held, Web, balancer, curl, opened, spread, worker
from router_document import document
from router_lab import FAR, PUBLIC, WEB, Lab, until
from vpc_lab import BRANCH, FIRST, SECOND, TIERS, VpcLab
from vpc_lab import WEB as VPC_WEB
from vpc_lab import document as vpc_document

HTTP, TCP = 8700, 8701
PUBLIC6, CLIENT6, GUEST6, VM6 = "2001:db8::2", "2001:db8::1", "fd00:1::1", "fd00:1::10"
PLACES = {"vm1": "10.1.1.10", "vm2": "10.1.1.11", "vm3": "10.1.2.10"}
FAST = {"interval": 0.2, "timeout": 1, "fall": 1, "rise": 1}


@pytest.fixture(scope="module")
def _webs(shared_lab: Lab) -> Iterator[None]:
    made = [Web(shared_lab[name], 8000, Behaviour(name)) for name in PLACES]
    yield
    for server in made:
        server.close()


def servers(*names: str, port: int = 8000) -> dict[str, Any]:
    return {name: {"address": PLACES[name], "port": port} for name in names}


@pytest.fixture
def shown(lab: Lab, _webs: None) -> Lab:
    web = balancer(PUBLIC, HTTP, servers("vm1", "vm3"), mode="http", check=FAST, transparent=True)
    web |= {
        "groups": {"api": {"servers": servers("vm2"), "check": {**FAST, "http": {}}}},
        "rules": {"api": {"number": 1, "paths": ["/api"], "group": "api"}},
    }
    echo = balancer(PUBLIC, TCP, servers("vm1", "vm2", port=80), transparent=True)
    changed = {**document(), "load_balancers": {"web": web, "echo": echo}}
    lab.put(opened(changed, (PUBLIC, "tcp", HTTP), (PUBLIC, "tcp", TCP)))
    return lab


def url(path: str = "/") -> str:
    return f"http://{PUBLIC}:{HTTP}{path}"


def test_servers_see_clients_addresses(shown: Lab) -> None:
    lab = shown
    assert lab.status()["capabilities"]["transparent_sockets"] is True
    for source in ("203.0.113.1", WEB, FAR):
        found = [curl(lab["net"], url(), "--interface", source) for _ in range(4)]
        assert {(each["server"], each["source"]) for each in found} == {("vm1", source), ("vm3", source)}
        assert curl(lab["net"], url("/api"), "--interface", source)["source"] == source
        assert lab["net"].ask(PUBLIC, TCP, source=source) in (f"vm1:80 saw {source}", f"vm2:80 saw {source}")

    def check() -> Any:
        return lab.get("/v1/load-balancers")["web"]["groups"]["api"]["servers"]["vm2"]["check"]

    until(lambda: check() == "L7OK")
    assert lab.drift() == []


def test_what_is_not_transparent_is_as_before(shown: Lab) -> None:
    lab = shown
    lab.patch({"load_balancers": {"echo": {"transparent": False}}})
    assert lab["net"].ask(PUBLIC, TCP) in ("vm1:80 saw 10.1.1.1", "vm2:80 saw 10.1.1.1")
    assert curl(lab["net"], url())["source"] == "203.0.113.1"
    # Guests' own connections pass the router as they did.
    assert lab["vm1"].ask(WEB, 80) is not None
    lab.patch({"load_balancers": {"web": {"transparent": None}}})
    assert curl(lab["net"], url())["source"] in ("10.1.1.1", "10.1.2.1")
    assert "lookup 900" not in lab.run("ip", "rule")
    assert lab.run("ip", "route", "show", "table", "900", check=False).strip() == ""
    assert lab.drift() == []


def test_connections_outlive_reloads_and_changes_of_the_filter(shown: Lab) -> None:
    lab = shown
    held = [Held(lab["net"], PUBLIC, TCP) for _ in range(4)]
    until(lambda: all(connection.answers for connection in held))
    process = worker(lab)
    lab.patch({"load_balancers": {"echo": {"timeouts": {"client": 77}}}})
    assert worker(lab) != process
    # The filter is made anew, with another structure.
    lab.patch({"firewall": {"ingress": {"policy": "accept"}}})
    lab.patch({"load_balancers": {"web": None}})
    before = [sum(connection.answers.values()) for connection in held]
    until(lambda: all(sum(each.answers.values()) > was for each, was in zip(held, before, strict=True)))
    for connection in held:
        connection.end()
        assert connection.failed is None
        assert len(connection.answers) == 1
        assert next(iter(connection.answers)).endswith("saw 203.0.113.1")
    assert lab.drift() == []


def test_servers_come_go_and_drain(shown: Lab) -> None:
    lab = shown
    process = worker(lab)
    lab.patch({"load_balancers": {"web": {"servers": {"vm2": {"address": PLACES["vm2"], "port": 8000}}}}})
    until(lambda: spread(lab["net"], url(), 6).keys() == {"vm1", "vm2", "vm3"})
    assert curl(lab["net"], url())["source"] == "203.0.113.1"
    lab.patch({"load_balancers": {"web": {"servers": {"vm1": {"state": "drain"}, "vm3": None}}}})
    assert spread(lab["net"], url(), 3) == {"vm2": 3}
    assert worker(lab) == process


def test_a_way_that_somebody_takes_away_comes_back(shown: Lab) -> None:
    lab = shown
    # While nobody heals it.
    lab.run("systemctl", "stop", "sysvm-agent")
    lab.run("ip", "route", "flush", "table", "900")
    lab.run("ip", "rule", "del", "lookup", "900")
    assert curl(lab["net"], url(), check=False) is None
    lab.run("systemctl", "start", "sysvm-agent")
    lab.settled()
    until(lambda: curl(lab["net"], url(), check=False), seconds=45)
    until(lambda: lab.drift() == [], seconds=45)
    lab.power_cut()
    lab.settled()
    assert until(lambda: curl(lab["net"], url(), check=False), seconds=30)["source"] == "203.0.113.1"


def test_clients_of_every_way_in_of_a_vpc(vpc: VpcLab) -> None:
    """Two ways out, whose marks answers mustn't have; other tiers; a private gateway's."""
    vpc.ready()
    places = {name: {"address": TIERS[name], "port": 80} for name in ("b", "c")}
    wanted = vpc_document()
    wanted["load_balancers"] = {
        "first": balancer(FIRST, TCP, places, transparent=True, check=FAST),
        "second": balancer(SECOND, TCP, places, transparent=True),
        "inside": balancer("10.2.1.1", TCP, places, transparent=True),
        "gateway": balancer("172.16.0.2", TCP, places, transparent=True),
    }
    vpc.put(wanted)
    clients = [
        ("net0", "203.0.113.1", FIRST), ("net0", VPC_WEB, FIRST),
        ("net1", "192.0.2.1", SECOND), ("net1", VPC_WEB, SECOND),
        ("a", TIERS["a"], "10.2.1.1"), ("a", TIERS["a"], FIRST), ("branch", BRANCH, "172.16.0.2"),
    ]  # fmt: skip
    for name, source, address in clients:
        for _ in range(2):
            said = vpc[name].ask(address, TCP, source=source)
            assert said in (f"b:80 saw {source}", f"c:80 saw {source}"), (name, source, address)
    assert vpc.drift() == []
    vpc.put(vpc_document())


@pytest.fixture
def six(lab: Lab) -> Iterator[Lab]:
    """IPv6 between net, the router and vm1, which serves on it."""
    lab["net"].run("ip", "address", "replace", f"{CLIENT6}/64", "dev", "eth0", "nodad")
    lab["vm1"].run("ip", "address", "replace", f"{VM6}/64", "dev", "eth0", "nodad")
    lab["vm1"].run("ip", "-6", "route", "replace", "default", "via", GUEST6)
    lab.serve("vm1", 80, version=6)
    yield lab
    lab["vm1"].run("ip", "-6", "route", "del", "default")
    lab["vm1"].run("ip", "address", "del", f"{VM6}/64", "dev", "eth0")
    lab["net"].run("ip", "address", "del", f"{CLIENT6}/64", "dev", "eth0")


def test_ipv6(six: Lab) -> None:
    lab = six
    changed = document()
    changed["interfaces"]["public0"]["addresses"].append(f"{PUBLIC6}/64")
    changed["interfaces"]["guest0"]["addresses"].append(f"{GUEST6}/64")
    echo = balancer(PUBLIC6, TCP, {"vm1": {"address": VM6, "port": 80}}, transparent=True, check=FAST)
    changed["load_balancers"] = {"echo": echo}
    lab.put(opened(changed, (PUBLIC6, "tcp", TCP)))
    said = until(lambda: lab["net"].ask(PUBLIC6, TCP, seconds=2), seconds=30)
    assert said == f"vm1:80 saw {CLIENT6}"
    assert "lookup 900" in lab.run("ip", "-6", "rule")
    assert "lookup 900" not in lab.run("ip", "rule")
    assert lab.drift() == []
