"""Load balancers on several HAProxys: each is changed by itself; whoever looks sees one."""

import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from balanced import Behaviour, Held, Web, balancer, opened, spread
from router_document import document
from router_lab import PUBLIC, Lab, until

from appliance.runtime import namespace
from router.load_balancing import process_of

PROCESSES, FIRST, COUNT = 3, 8310, 8
VM1, VM2 = "10.1.1.10", "10.1.1.11"
NAMES = [f"lb{number}" for number in range(COUNT)]


@pytest.fixture(scope="module")
def _servers(shared_lab: Lab) -> Iterator[None]:
    made = [Web(shared_lab[name], 8000, Behaviour(name)) for name in ("vm1", "vm2")]
    yield
    for server in made:
        server.close()


def wanted(processes: int, **more: Any) -> dict[str, Any]:
    servers = {"vm1": {"address": VM1, "port": 8000}, "vm2": {"address": VM2, "port": 8000}}
    balancers = {name: balancer(PUBLIC, FIRST + n, servers, mode="http") for n, name in enumerate(NAMES)}
    echo = {"vm1": {"address": VM1, "port": 80}, "vm2": {"address": VM2, "port": 80}}
    changed = {
        **document(),
        "load_balancers": {**balancers, "echo": balancer(PUBLIC, FIRST + COUNT, echo), **more},
        "load_balancing": {"processes": processes, "max_connections": 3000},
    }
    return opened(changed, *((PUBLIC, "tcp", FIRST + number) for number in range(COUNT + 2)))


def url(name: str) -> str:
    return f"http://{PUBLIC}:{FIRST + NAMES.index(name)}/"


def unit(number: int) -> str:
    return f"sysvm-haproxy@{number}.service"


def workers(lab: Lab) -> dict[int, str]:
    """The process that serves new connections, of each that is there."""
    script = (
        "import glob,socket\n"
        "for path in glob.glob('/run/sysvm-haproxy/*/admin.sock'):\n"
        "    s=socket.socket(socket.AF_UNIX);s.connect(path);s.sendall(b'show info\\n')\n"
        "    text=s.makefile().read();print(path.split('/')[3],text.split('\\nPid: ')[1].split()[0],"
        "text.split('\\nMaxconn: ')[1].split()[0])"
    )
    lines = [line.split() for line in lab.run("python3", "-c", script).splitlines()]
    assert {line[2] for line in lines} == {str(3000 // PROCESSES)}, "of the limit each has its share"
    return {int(number): process for number, process, _ in lines}


def test_one_that_comes_or_goes_is_its_own_processs_matter(lab: Lab, _servers: None) -> None:
    lab.put(wanted(PROCESSES))
    assert lab.drift() == []
    before = workers(lab)
    assert sorted(before) == list(range(PROCESSES))
    assert all(spread(lab["net"], url(name), 2) == {"vm1": 1, "vm2": 1} for name in NAMES)
    # A server that comes is a reload of none.
    lab.patch({"load_balancers": {"lb1": {"servers": {"vm2": {"state": "drain"}}}}})
    assert spread(lab["net"], url("lb1"), 2) == {"vm1": 2}
    assert workers(lab) == before
    more = balancer(PUBLIC, FIRST + COUNT + 1, {"vm1": {"address": VM1, "port": 8000}}, mode="http")
    lab.patch({"load_balancers": {"more": more}})
    after = workers(lab)
    own = process_of("more", PROCESSES)
    assert {number for number in before if before[number] != after[number]} == {own}
    assert spread(lab["net"], f"http://{PUBLIC}:{FIRST + COUNT + 1}/", 1) == {"vm1": 1}
    told = lab.get("/v1/load-balancers")
    assert sorted(told) == sorted([*NAMES, "echo", "more"])
    assert {name for name in told if told[name]["servers"]["vm1"]["status"] == "no check"} == set(told)
    health = lab.get("/v1/health?fresh")
    assert {f"load balancing, process {n}" for n in before} <= {check["name"] for check in health["checks"]}
    # One that dies comes back, and the others don't notice.
    lab.run("kill", "-KILL", lab.unit(unit(own), "MainPID"))
    until(lambda: len(workers(lab)) == PROCESSES and workers(lab)[own] != after[own], seconds=15)
    assert all(process == after[number] for number, process in workers(lab).items() if number != own)
    # A process that has none left ends.
    rest = [name for name in (*NAMES, "echo", "more") if process_of(name, PROCESSES) == own]
    lab.patch({"load_balancers": dict.fromkeys(rest)})
    assert lab.unit(unit(own), "ActiveState") == "inactive"
    assert lab.drift() == []
    lab.put(document())
    assert "ActiveState=active" not in lab.run("systemctl", "show", "sysvm-haproxy@*")


def test_more_processes_take_over_without_a_loss(lab: Lab, _servers: None) -> None:
    lab.put(wanted(1))
    held = Held(lab["net"], PUBLIC, FIRST + COUNT)
    until(lambda: held.answers)
    argv = ["wrk", "--threads", "1", "--connections", "4", "--duration", "5s", "--timeout", "5s"]
    moving = next(name for name in NAMES if process_of(name, PROCESSES))
    load = subprocess.Popen(
        namespace.entering(lab["net"].full, [*argv, url(moving)]), stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    lab.put(wanted(PROCESSES))
    said = load.communicate(timeout=30)[0]
    assert "Socket errors" not in said and "Non-2xx" not in said, said
    found = re.search(r"(\d+) requests in", said)
    assert found and int(found[1]) > 300, said
    held.end()
    assert held.failed is None
    assert all(spread(lab["net"], url(name), 2) == {"vm1": 1, "vm2": 1} for name in NAMES)
    assert lab.drift() == []
    lab.put(document())
