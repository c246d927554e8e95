"""What changes load balancers cuts nobody's connection, and whatever dies or is tampered with comes back."""

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from balanced import Behaviour, Held, Web, balancer, haproxy, opened, spread, worker
from router_document import document
from router_lab import PUBLIC, Lab, until
from test_crashes import crash_next_at
from test_crashes import crashing as crashing  # a fixture

from appliance.runtime import namespace

HTTP, TCP = 8300, 8301
URL = f"http://{PUBLIC}:{HTTP}/"
UNIT = "sysvm-haproxy@0.service"
VM1, VM2 = "10.1.1.10", "10.1.1.11"


@pytest.fixture(scope="module")
def _servers(shared_lab: Lab) -> Iterator[None]:
    made = [Web(shared_lab[name], 8000, Behaviour(name)) for name in ("vm1", "vm2")]
    made.append(Web(shared_lab["vm2"], 8001, Behaviour("vm2")))
    yield
    for server in made:
        server.close()


def wanted() -> dict[str, Any]:
    servers = {"vm1": {"address": VM1, "port": 8000}, "vm2": {"address": VM2, "port": 8000}}
    echo = {"vm1": {"address": VM1, "port": 80}, "vm2": {"address": VM2, "port": 80}}
    changed = {
        **document(),
        "load_balancers": {
            "web": balancer(PUBLIC, HTTP, servers, mode="http"),
            "echo": balancer(PUBLIC, TCP, echo),
        },
    }
    return opened(changed, (PUBLIC, "tcp", HTTP), (PUBLIC, "tcp", TCP))


@pytest.fixture
def balanced(lab: Lab, _servers: None) -> Lab:
    lab.put(wanted())
    return lab


def web(**servers: Any) -> dict[str, Any]:
    return {"load_balancers": {"web": {"servers": servers}}}


def test_a_reload_under_load_loses_no_connection(balanced: Lab) -> None:
    lab = balanced
    held = [Held(lab["net"], PUBLIC, TCP) for _ in range(10)]
    argv = ["wrk", "--threads", "1", "--connections", "8", "--duration", "8s", "--timeout", "5s", URL]
    each_anew = [*argv[:-1], "--header", "Connection: close", URL]
    place = lab["net"].full
    loads = [
        subprocess.Popen(namespace.entering(place, load), stdout=subprocess.PIPE, text=True)
        for load in (argv, each_anew)
    ]
    time.sleep(0.5)
    processes = set()
    for number in range(8):
        processes.add(worker(lab))
        lab.patch({"load_balancers": {"web": {"timeouts": {"client": 60 + number}}}})
        time.sleep(0.3)
    assert len(processes) == 8, "each of them was a reload"
    for load in loads:
        said = load.communicate(timeout=30)[0]
        assert load.returncode == 0, said
        assert "Socket errors" not in said and "Non-2xx" not in said, said
        found = re.search(r"(\d+) requests in", said)
        assert found and int(found[1]) > 500, said
    for connection in held:
        connection.end()
        assert connection.failed is None
        assert len(connection.answers) == 1, "of the server that it had from the beginning"


def test_changes_of_servers_under_load_lose_nothing(balanced: Lab) -> None:
    lab = balanced
    argv = ["wrk", "--threads", "1", "--connections", "8", "--duration", "6s", "--timeout", "5s", URL]
    load = subprocess.Popen(namespace.entering(lab["net"].full, argv), stdout=subprocess.PIPE, text=True)
    held = Held(lab["net"], PUBLIC, TCP)
    process = worker(lab)
    for number in range(6):
        lab.patch(web(vm1={"weight": 2 + number}, more={"address": VM2, "port": 8001}))
        lab.patch(web(vm2={"state": "drain"}))
        lab.patch(web(vm2={"state": "ready"}, more={"state": "drain"}))
        time.sleep(0.2)
        lab.patch(web(more=None))
    said = load.communicate(timeout=30)[0]
    assert "Socket errors" not in said and "Non-2xx" not in said, said
    held.end()
    assert held.failed is None
    assert worker(lab) == process


def test_a_removed_server_ends_its_own_connections_only(balanced: Lab) -> None:
    lab = balanced
    held = [Held(lab["net"], PUBLIC, TCP) for _ in range(6)]
    until(lambda: all(connection.answers for connection in held))
    process = worker(lab)
    lab.patch({"load_balancers": {"echo": {"servers": {"vm1": None}}}})
    time.sleep(0.3)
    for connection in held:
        connection.end()
        mine = any(answer.startswith("vm1:") for answer in connection.answers)
        assert (connection.failed is not None) == mine
    assert {bool(connection.failed) for connection in held} == {True, False}
    assert worker(lab) == process


def test_another_load_balancer_comes_and_goes_past_connections(balanced: Lab) -> None:
    lab = balanced
    held = Held(lab["net"], PUBLIC, TCP)
    more = balancer(PUBLIC, 8302, {"vm1": {"address": VM1, "port": 8000}}, mode="http")
    lab.patch(opened({"firewall": {"ingress": {"rules": {}}}, "load_balancers": {"more": more}},
                     (PUBLIC, "tcp", 8302)))  # fmt: skip
    assert spread(lab["net"], f"http://{PUBLIC}:8302/", 2) == {"vm1": 2}
    lab.patch({"load_balancers": {"more": None}})
    assert lab["net"].refused(PUBLIC, 8302)
    # Also its own, which the old process still serves.
    lab.patch({"load_balancers": {"echo": None}})
    assert lab["net"].refused(PUBLIC, TCP)
    time.sleep(0.2)
    held.end()
    assert held.failed is None


def test_a_killed_haproxy_and_a_killed_agent(balanced: Lab) -> None:
    lab = balanced
    lab.patch(web(vm1={"weight": 3}))
    process = worker(lab)
    lab.run("kill", "-KILL", lab.unit(UNIT, "MainPID"))
    until(lambda: worker(lab) != process, seconds=15)
    until(lambda: spread(lab["net"], URL, 8) == {"vm1": 6, "vm2": 2}, seconds=15)
    # A worker alone.
    process = worker(lab)
    lab.run("kill", "-KILL", process.partition(": ")[2])
    until(lambda: worker(lab) != process, seconds=15)
    until(lambda: spread(lab["net"], URL, 8) == {"vm1": 6, "vm2": 2}, seconds=15)
    lab.settled()
    process = worker(lab)
    lab.kill_agent()
    assert lab.settled()
    assert lab.drift() == []
    assert worker(lab) == process, "what runs well is left alone"
    # While it is away, somebody else works.
    lab.run("systemctl", "stop", "sysvm-agent")
    haproxy(lab, "set server web/vm1 weight 50")
    lab.run("systemctl", "start", "sysvm-agent")
    lab.settled()
    assert spread(lab["net"], URL, 8) == {"vm1": 6, "vm2": 2}


def test_a_change_while_it_is_started_again(balanced: Lab) -> None:
    lab = balanced
    for number in range(8):
        lab.run("kill", "-KILL", lab.unit(UNIT, "MainPID"))
        time.sleep(number * 0.05)
        lab.patch({"load_balancers": {"web": {"timeouts": {"client": 40 + number}}}})
        assert spread(lab["net"], URL, 2) == {"vm1": 1, "vm2": 1}


def test_a_power_cut(balanced: Lab) -> None:
    lab = balanced
    lab.patch(web(vm1={"state": "drain"}))
    lab.power_cut()
    lab.settled()
    until(lambda: spread(lab["net"], URL, 4) == {"vm2": 4}, seconds=15)
    assert lab.drift() == []


DAMAGE = [
    "set server web/vm1 weight 0",
    "set server web/vm2 state maint",
    "add server web/evil 10.1.2.66:80",
    "set server echo/vm1 addr 10.1.2.66 port 81",
    "set server echo/vm2 state maint; del server echo/vm2",
]


def test_what_somebody_changes_by_hand_is_healed(balanced: Lab) -> None:
    lab = balanced
    process = worker(lab)
    for command in DAMAGE:
        haproxy(lab, command)
    assert len(lab.drift()) == len(DAMAGE)
    until(lambda: spread(lab["net"], URL, 4) == {"vm1": 2, "vm2": 2}, seconds=45)
    until(lambda: lab.drift() == [] and lab.status()["state"] == "converged", seconds=45)
    assert worker(lab) == process, "healed without a reload"
    lab.sh("sed -i 's/maxconn 20000/maxconn 200/' /run/sysvm/haproxy/0.cfg; kill -USR2 "
           + lab.unit(UNIT, "MainPID"))  # fmt: skip
    until(lambda: worker(lab) != process)
    until(lambda: "Maxconn: 20000" in haproxy(lab, "show info") and lab.drift() == [], seconds=45)


def test_a_frozen_haproxy_is_not_healthy(balanced: Lab) -> None:
    lab = balanced
    assert lab.get("/v1/health?fresh")["ok"]
    process = worker(lab).partition(": ")[2]
    lab.run("kill", "-STOP", process)
    try:
        health = lab.get("/v1/health?fresh")
    finally:
        lab.run("kill", "-CONT", process)
    assert [check["name"] for check in health["checks"] if not check["ok"]] == ["load balancing"]
    until(lambda: lab.get("/v1/health?fresh")["ok"] and lab.status()["state"] == "converged", seconds=45)


def test_a_crash_before_any_step_of_a_change(crashing: Lab, _servers: None) -> None:
    lab = crashing
    lab.ready()
    lab.put(wanted())
    changed = wanted()
    changed["load_balancers"]["web"]["servers"]["vm1"]["state"] = "drain"
    changed["load_balancers"]["web"]["timeouts"] = {"client": 7}
    changed["load_balancers"]["more"] = balancer(PUBLIC, 8303, {"vm1": {"address": VM1}})
    changed["generation"] = lab.status()["generation"] + 1
    for step in range(100):
        crash_next_at(lab, step)
        lab.kill_agent()
        ended = threading.Event()
        try:
            answer = lab.request("PUT", "/v1/config", changed)
        except OSError:
            ended.set()
        except Exception as error:  # of http.client, where the connection just ends
            assert "Remote end" in str(error) or "Incomplete" in type(error).__name__, error
            ended.set()
        if not ended.is_set():
            assert answer.status == 200, answer
            break
        crash_next_at(lab, "never")
        lab.kill_agent()
        lab.settled()
        assert lab.drift() == [], step
        assert spread(lab["net"], URL, 4) == {"vm1": 2, "vm2": 2}, step
    else:
        raise AssertionError("it crashes for ever")
    assert step > 2
    assert spread(lab["net"], URL, 4) == {"vm2": 4}
    assert lab.drift() == []
