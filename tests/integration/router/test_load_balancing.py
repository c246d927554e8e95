"""Load balancers of tcp and http between real clients and servers: who gets which request."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from balanced import Behaviour, Web, balancer, curl, haproxy, opened, spread, worker
from router_document import document
from router_lab import FAR, PUBLIC, WEB, Lab, until

PORT = 8100
URL = f"http://{PUBLIC}:{PORT}/"
VM1, VM2, VM3 = "10.1.1.10", "10.1.1.11", "10.1.2.10"
FAST = {"interval": 0.2, "timeout": 0.5, "fall": 2, "rise": 1}
Webs = dict[str, Behaviour]


@pytest.fixture(scope="module")
def servers(shared_lab: Lab) -> Iterator[dict[str, Web]]:
    made = {name: Web(shared_lab[name], 8000, Behaviour(name)) for name in ("vm1", "vm2", "vm3")}
    yield made
    for server in made.values():
        server.close()


@pytest.fixture
def webs(servers: dict[str, Web]) -> Webs:
    for name, server in servers.items():
        server.behaviour = Behaviour(name)
    return {name: server.behaviour for name, server in servers.items()}


def two(**fields: Any) -> dict[str, Any]:
    """A load balancer of http with vm1 and vm2."""
    servers = {"vm1": {"address": VM1, "port": 8000}, "vm2": {"address": VM2, "port": 8000}}
    return balancer(PUBLIC, PORT, servers, **{"mode": "http", **fields})


def balancing(lab: Lab, **fields: Any) -> None:
    """Have one, `web`, with the firewall open for it."""
    lab.put(opened({**document(), "load_balancers": {"web": two(**fields)}}, (PUBLIC, "tcp", PORT)))


def patched(lab: Lab, **servers: Any) -> list[dict[str, str]]:
    changes: list[dict[str, str]] = lab.patch({"load_balancers": {"web": {"servers": servers}}})["changes"]
    return changes


def test_servers_are_weighed_drained_added_and_removed_without_a_reload(lab: Lab, webs: Webs) -> None:
    lab.put({**document(), "load_balancers": {"web": two()}})
    assert curl(lab["net"], URL, check=False) is None, "the firewall opens it, nothing else does"
    balancing(lab)
    process = worker(lab)
    assert spread(lab["net"], URL, 20) == {"vm1": 10, "vm2": 10}
    changes = patched(lab, vm1={"weight": 3})
    assert (changes[0]["action"], changes[0]["name"]) == ("update", "web/vm1")
    assert spread(lab["net"], URL, 20) == {"vm1": 15, "vm2": 5}
    patched(lab, vm1={"state": "drain"})
    assert spread(lab["net"], URL, 6) == {"vm2": 6}
    patched(lab, vm3={"address": VM3, "port": 8000})
    assert spread(lab["net"], URL, 6) == {"vm2": 3, "vm3": 3}
    patched(lab, vm2={"state": "maintenance"}, vm1={"state": "ready", "weight": 1})
    assert spread(lab["net"], URL, 6) == {"vm1": 3, "vm3": 3}
    patched(lab, vm1={"address": VM2}, vm2=None)
    assert spread(lab["net"], URL, 6) == {"vm2": 3, "vm3": 3}, "vm1 is at vm2's address now"
    patched(lab, vm1=None)
    assert spread(lab["net"], URL, 4) == {"vm3": 4}
    assert lab.drift() == []
    assert worker(lab) == process, "all of it without another process"


def test_without_servers_and_without_load_balancers(lab: Lab, webs: Webs) -> None:
    lab.put(opened({**document(), "load_balancers": {"web": balancer(PUBLIC, PORT, {}, mode="http")}},
                   (PUBLIC, "tcp", PORT)))  # fmt: skip
    assert "503" in lab["net"].run("curl", "--silent", "--include", URL)
    patched(lab, vm1={"address": VM1, "port": 8000})
    assert spread(lab["net"], URL, 2) == {"vm1": 2}
    lab.put(document())
    assert lab.unit("sysvm-haproxy.service", "ActiveState") == "inactive"
    assert "haproxy.cfg" not in lab.sh("ls -R /run/sysvm")
    assert lab.drift() == []


def test_least_connections(lab: Lab, webs: Webs) -> None:
    balancing(lab, algorithm="least-connections", mode="tcp")
    with lab["net"].socket() as held:
        held.connect((PUBLIC, PORT))
        held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not re.search(rb'"vm[12]"', answer):
            more = held.recv(4096)
            assert more, answer
            answer += more
        busy = "vm1" if b'"vm1"' in answer else "vm2"
        (idle,) = {"vm1", "vm2"} - {busy}
        for _ in range(6):
            # One that was answered counts for a moment longer.
            until(lambda: lab.get("/v1/load-balancers")["web"]["servers"][idle]["sessions"] == 0)
            assert spread(lab["net"], URL, 1) == {idle: 1}


def test_a_source_has_its_server(lab: Lab, webs: Webs) -> None:
    balancing(lab, algorithm="source")
    sources = [f"203.0.113.{number}" for number in range(100, 116)]
    for source in sources:
        lab["net"].run("ip", "address", "add", f"{source}/24", "dev", "eth0")
    try:
        found = {source: spread(lab["net"], URL, 3, "--interface", source) for source in sources}
    finally:
        for source in sources:
            lab["net"].run("ip", "address", "del", f"{source}/24", "dev", "eth0")
    assert all(len(servers) == 1 for servers in found.values())
    assert {name for servers in found.values() for name in servers} == {"vm1", "vm2"}


def test_what_is_down_gets_nothing_and_backups_step_in(lab: Lab, webs: Webs) -> None:
    balancing(lab, check={**FAST, "http": {"path": "/health"}})
    patched(lab, vm3={"address": VM3, "port": 8000, "backup": True})
    assert spread(lab["net"], URL, 6) == {"vm1": 3, "vm2": 3}
    webs["vm1"].status = 500
    until(lambda: spread(lab["net"], URL, 6) == {"vm2": 6}, what="vm1 is out")
    webs["vm2"].status = 404
    until(lambda: spread(lab["net"], URL, 6) == {"vm3": 6}, what="the backup is in")
    webs["vm1"].status = webs["vm2"].status = 204
    until(lambda: spread(lab["net"], URL, 6) == {"vm1": 3, "vm2": 3}, what="both are back")
    told = {request["path"] for request in webs["vm1"].seen}
    assert "/health" in told


def test_what_is_down_stays_down_through_a_reload(lab: Lab, webs: Webs) -> None:
    balancing(lab, check={**FAST, "interval": 2, "fall": 3, "http": {"path": "/health"}})
    webs["vm1"].status = 500
    until(lambda: spread(lab["net"], URL, 6) == {"vm2": 6}, seconds=20, what="vm1 is out")
    process = worker(lab)
    lab.patch({"load_balancers": {"web": {"timeouts": {"client": 33}}}})
    assert worker(lab) != process
    assert spread(lab["net"], URL, 8) == {"vm2": 8}


def test_a_tcp_check(lab: Lab, webs: Webs) -> None:
    balancing(lab, check=FAST, mode="tcp")
    patched(lab, dead={"address": VM1, "port": 8999})

    def servers() -> dict[str, Any]:
        found: dict[str, Any] = lab.get("/v1/load-balancers")["web"]["servers"]
        return found

    until(lambda: servers()["dead"]["status"] == "DOWN")
    assert servers()["dead"]["check"] == "L4CON"
    assert servers()["vm1"]["status"] == "UP"
    assert spread(lab["net"], URL, 6) == {"vm1": 3, "vm2": 3}


def cookie(lab: Lab, *options: str) -> tuple[str, dict[str, str]]:
    """Which server answers, and the cookies that the client is given."""
    said = lab["net"].run("curl", "--silent", "--include", *options, URL)
    lines = [line.partition(":")[2] for line in said.splitlines() if line.lower().startswith("set-cookie:")]
    name = "vm1" if '"server": "vm1"' in said else "vm2"
    return name, dict(line.partition(";")[0].strip().split("=", 1) for line in lines)


def test_an_inserted_cookie_leads_back_even_to_what_is_drained(lab: Lab, webs: Webs) -> None:
    balancing(lab, stickiness={"cookie": {"name": "SERVER"}})
    name, cookies = cookie(lab)
    assert cookies == {"SERVER": name}
    again = ("--cookie", f"SERVER={name}; other=1")
    assert spread(lab["net"], URL, 5, *again) == {name: 5}
    assert webs[name].seen[-1]["headers"]["cookie"] == "other=1", "servers don't see it"
    patched(lab, **{name: {"state": "drain"}})
    assert spread(lab["net"], URL, 3, *again) == {name: 3}
    assert name not in spread(lab["net"], URL, 4)
    patched(lab, **{name: {"state": "maintenance"}})
    assert name not in spread(lab["net"], URL, 2, *again)
    (other,) = {"vm1", "vm2"} - {name}
    # One that comes while it runs has its cookie, too.
    patched(lab, vm3={"address": VM3, "port": 8000})
    assert spread(lab["net"], URL, 2, "--cookie", "SERVER=vm3") == {"vm3": 2}
    assert spread(lab["net"], URL, 2, "--cookie", f"SERVER={other}") == {other: 2}


def test_a_prefixed_cookie(lab: Lab, webs: Webs) -> None:
    balancing(lab, stickiness={"cookie": {"name": "SID", "mode": "prefix"}})
    for web in webs.values():
        web.cookies = ["SID=abc"]
    name, cookies = cookie(lab)
    assert cookies == {"SID": f"{name}~abc"}
    assert spread(lab["net"], URL, 4, "--cookie", f"SID={name}~abc") == {name: 4}
    assert webs[name].seen[-1]["headers"]["cookie"] == "SID=abc"


def test_a_rewritten_cookie(lab: Lab, webs: Webs) -> None:
    balancing(lab, stickiness={"cookie": {"name": "WHERE", "mode": "rewrite"}})
    for web in webs.values():
        web.cookies = ["WHERE=here"]
    name, cookies = cookie(lab)
    assert cookies == {"WHERE": name}
    assert spread(lab["net"], URL, 4, "--cookie", f"WHERE={name}") == {name: 4}


@pytest.mark.parametrize("kind", ["source", "header"])
def test_stickiness_outlives_a_reload(lab: Lab, webs: Webs, kind: str) -> None:
    stickiness = {"source": {}} if kind == "source" else {"header": {"name": "X-User"}}
    balancing(lab, stickiness=stickiness)

    def asked(who: str) -> set[str]:
        address = {"ann": WEB, "bob": FAR}.get(who, WEB)
        options = ["--interface", address] if kind == "source" else ["--header", f"X-User: {who}"]
        return set(spread(lab["net"], URL, 3, *options))

    before = {who: asked(who) for who in ("ann", "bob")}
    assert all(len(servers) == 1 for servers in before.values())
    assert before["ann"] != before["bob"], "round-robin at first"
    process = worker(lab)
    for seconds in (31, 32):
        lab.patch({"load_balancers": {"web": {"timeouts": {"client": seconds}}}})
        assert {who: asked(who) for who in before} == before
    assert worker(lab) != process


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_proxy_protocol_tells_who_the_client_is(lab: Lab, webs: Webs, version: str) -> None:
    balancing(lab, mode="tcp")
    assert curl(lab["net"], URL)["source"] in ("10.1.1.1", "10.1.2.1")
    for web in webs.values():
        web.proxied = True
    # Servers that expect it don't understand clients that come without.
    assert curl(lab["net"], URL, check=False) is None
    balancing(lab, mode="tcp", proxy_protocol=version, check=FAST)
    assert curl(lab["net"], URL)["source"] == "203.0.113.1"
    patched(lab, vm3={"address": VM3, "port": 8000})
    assert {curl(lab["net"], URL)["source"] for _ in range(6)} == {"203.0.113.1"}
    found = lab.get("/v1/load-balancers")["web"]["servers"]
    assert {server["status"] for server in found.values()} == {"UP"}


def test_http_says_whom_a_request_is_from(lab: Lab, webs: Webs) -> None:
    balancing(lab)
    headers = curl(lab["net"], URL)["headers"]
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("203.0.113.1", "http")
    balancing(lab, forwarded_for=False)
    assert "x-forwarded-for" not in curl(lab["net"], URL)["headers"]


def test_keep_alive(lab: Lab, webs: Webs) -> None:
    for keep_alive, connections in ((True, 1), (False, 3)):
        balancing(lab, keep_alive=keep_alive)
        # Three requests of one curl.
        quiet = ["--silent", "--write-out", "%{num_connects}\n", *["--output", "/dev/null"] * 3]
        said = lab["net"].run("curl", *quiet, URL, URL, URL)
        assert sum(map(int, said.split())) == connections, said


def test_only_from_chosen_sources(lab: Lab, webs: Webs) -> None:
    balancing(lab)
    process = worker(lab)
    lab.patch({"load_balancers": {"web": {"source_cidrs": ["198.51.100.80/32"]}}})
    assert curl(lab["net"], URL, "--interface", WEB) is not None
    assert curl(lab["net"], URL, "--interface", FAR, check=False) is None
    assert lab["net"].refused(PUBLIC, PORT)
    question = {"from": FAR, "to": PUBLIC, "port": PORT}
    said = lab.request("POST", "/v1/explain", question).json
    assert (said["outcome"], said["pointer"]) == ("dropped", "/load_balancers/web/source_cidrs"), said
    said = lab.request("POST", "/v1/explain", {**question, "from": WEB}).json
    assert said["outcome"] == "delivered", said
    lab.patch({"load_balancers": {"web": {"source_cidrs": ["198.51.100.99/32"]}}})
    assert curl(lab["net"], URL, "--interface", FAR) is not None
    assert lab["net"].refused(PUBLIC, PORT, source=WEB)
    lab.patch({"load_balancers": {"web": {"source_cidrs": None}}})
    assert curl(lab["net"], URL, "--interface", WEB) is not None
    assert worker(lab) == process, "all of it without another process"


def test_connection_limits(lab: Lab, webs: Webs) -> None:
    for fields in ({"max_connections": 1}, {}):
        balancing(lab, mode="tcp", timeouts={"queue": 10}, **fields)
        if not fields:
            patched(lab, vm1={"max_connections": 1}, vm2={"state": "maintenance"})
        with lab["net"].socket() as first, lab["net"].socket() as second:
            first.settimeout(5)
            for connected in (first, second):
                connected.connect((PUBLIC, PORT))
            first.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert first.recv(4096)
            second.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(TimeoutError):
                second.recv(4096)
            first.close()
            second.settimeout(5)
            assert second.recv(4096), "it was waiting for that"


def test_timeouts(lab: Lab, webs: Webs) -> None:
    balancing(lab, mode="tcp", timeouts={"client": 0.5})
    with lab["net"].socket() as idle:
        idle.settimeout(5)
        idle.connect((PUBLIC, PORT))
        began = time.monotonic()
        assert idle.recv(100) == b""
        assert 0.3 < time.monotonic() - began < 4
    balancing(lab, timeouts={"request": 0.5})
    with lab["net"].socket() as slow:
        slow.settimeout(5)
        slow.connect((PUBLIC, PORT))
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert b"408" in slow.recv(1000)


def test_clients_of_the_other_family(lab: Lab, webs: Webs) -> None:
    lab["net"].run("ip", "address", "replace", "2001:db8::1/64", "dev", "eth0", "nodad")
    changed = document()
    changed["interfaces"]["public0"]["addresses"].append("2001:db8::2/64")
    web = {**two(source_cidrs=["2001:db8::/64"]), "address": "2001:db8::2"}
    other = {**web, "port": PORT + 1, "source_cidrs": ["2001:db8:9::/64"]}
    changed["load_balancers"] = {"web": web, "other": other}
    url = f"http://[2001:db8::2]:{PORT}/"
    changed["firewall"]["ingress"]["rules"]["web6"] = {
        "verdict": "accept", "address": "2001:db8::2", "protocol": "tcp", "ports": f"{PORT}-{PORT + 1}",
    }  # fmt: skip
    lab.put(changed)
    until(lambda: curl(lab["net"], url, "--globoff", check=False), what="its address is there")
    assert spread(lab["net"], url, 4, "--globoff") == {"vm1": 2, "vm2": 2}
    assert webs["vm1"].seen[-1]["headers"]["x-forwarded-for"] == "2001:db8::1"
    assert curl(lab["net"], f"http://[2001:db8::2]:{PORT + 1}/", "--globoff", check=False) is None


def test_an_internal_one_is_for_guests(lab: Lab, webs: Webs) -> None:
    changed = document()
    changed["interfaces"]["guest0"]["addresses"].append("10.1.1.2/24")
    servers = {"vm1": {"address": VM1, "port": 8000}, "vm2": {"address": VM2, "port": 8000}}
    changed["load_balancers"] = {
        "own": balancer("10.1.1.1", 8200, servers, mode="http"),
        "further": balancer("10.1.1.2", 80, servers, mode="http"),
    }
    lab.put(changed)
    for url in ("http://10.1.1.1:8200/", "http://10.1.1.2/"):
        assert spread(lab["vm3"], url, 4) == {"vm1": 2, "vm2": 2}
        assert spread(lab["vm2"], url, 4) == {"vm1": 2, "vm2": 2}
    lab["net"].run("ip", "route", "replace", "10.1.1.0/24", "via", PUBLIC)
    try:
        assert lab["net"].refused("10.1.1.1", 8200)
        assert lab["net"].refused("10.1.1.2", 80)
    finally:
        lab["net"].run("ip", "route", "del", "10.1.1.0/24")


def test_an_appliance_that_only_balances_inside(lab: Lab, webs: Webs) -> None:
    """One guest network and nothing else: somebody else is the guests' router."""
    only = document()
    servers = {"vm1": {"address": VM1, "port": 8000}, "vm2": {"address": VM2, "port": 8000}}
    only = {
        "role": "router",
        "name": only["name"],
        "interfaces": {"guest0": only["interfaces"]["guest0"]},
        "load_balancers": {"own": balancer("10.1.1.1", 8200, servers, mode="http")},
    }
    lab.put(only)
    assert spread(lab["vm2"], "http://10.1.1.1:8200/", 4) == {"vm1": 2, "vm2": 2}
    # It serves no names and leads nowhere.
    assert lab["vm2"].refused("10.1.1.1", 53)
    assert lab["vm2"].refused(WEB, 80)
    assert lab.drift() == []


def test_statistics(lab: Lab, webs: Webs) -> None:
    balancing(lab, check=FAST)
    spread(lab["net"], URL, 4)
    until(lambda: lab.get("/v1/load-balancers")["web"]["servers"]["vm1"]["status"] == "UP")
    found = lab.get("/v1/load-balancers")
    assert list(found) == ["web"]
    web = found["web"]
    assert (web["status"], web["sessions_total"], web["responses_total"]["2xx"]) == ("OPEN", 4, 4)
    assert web["servers"]["vm1"]["sessions_total"] == 2
    assert web["servers"]["vm1"]["address"] == f"{VM1}:8000"
    assert web["bytes_sent_total"] > 100
    metrics = lab.request("GET", "/metrics").text
    labels = '{load_balancer="web",server="vm2"}'
    assert f"sysvm_load_balancer_server_up{labels} 1" in metrics
    assert f"sysvm_load_balancer_server_sessions_total{labels} 2" in metrics
    assert 'sysvm_load_balancer_responses_total{load_balancer="web",code="2xx"} 4' in metrics
    patched(lab, vm2={"state": "drain"})
    until(lambda: f"sysvm_load_balancer_server_up{labels} 0" in lab.request("GET", "/metrics").text)
    # Nobody but root asks HAProxy itself, and there is no page of statistics to guess a password of.
    assert "srw-------" in lab.run("ls", "-l", "/run/sysvm-haproxy/admin.sock")
    assert curl(lab["net"], f"{URL}admin?stats")["path"] == "/admin?stats", "a server's, like any other"
    assert haproxy(lab, "show info").startswith("Name: HAProxy")
