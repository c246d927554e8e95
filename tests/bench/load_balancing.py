"""Requests through the router's load balancers and through a minimal haproxy.cfg written by hand, in the
same place; and how long a thousand load balancers take, and one more."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from appliance.runtime import namespace
from tests.bench import documents
from tests.bench.benchmark import Say, milliseconds, table
from tests.bench.lab import GUEST, GUEST_ADDRESS, PUBLIC, Lab, laboratory

TITLE = "Load balancers"
_ROUNDS = 5
_SECONDS = 3
_PORT, _SERVER = 9000, 9080
_COUNT = 1_000
_PUTS, _PATCHES = 3, 11
_PROCESSES = (1, 4)
_UNIT = "sysvm-haproxy@0.service"
_BYHAND = """global
    maxconn 4000
defaults
    mode {mode}
    timeout connect 5s
    timeout client 50s
    timeout server 50s
listen web
    bind {address}:{port}
    server a {server}:{first}
    server b {server}:{second}
"""
_ANSWERING = """global
    maxconn 4000
defaults
    mode http
    timeout client 50s
listen web
    bind {server}:{first}
    bind {server}:{second}
    http-request return status 200 content-type text/plain string hello
"""
_PLACES = {
    "address": documents.PUBLIC_ADDRESS,
    "port": _PORT,
    "server": GUEST_ADDRESS,
    "first": _SERVER,
    "second": _SERVER + 1,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    what: str
    mode: str
    options: tuple[str, ...] = ()


WAYS = (
    Way(what="http, connections kept", mode="http"),
    Way(what="http, a connection for each request", mode="http", options=("--header", "Connection: close")),
    Way(what="tcp, connections kept", mode="tcp"),
)


def run(say: Say) -> str:
    with laboratory() as lab:
        with _answering(lab):
            requests = [_compare(lab, way, say) for way in WAYS]
        rows = [row for processes in _PROCESSES for row in _scale(lab, processes, say)]
    return "\n\n".join(
        [
            "Requests of wrk from the public side to two servers on a guest network: medians of "
            f"{_ROUNDS} rounds in turn, {_SECONDS} s each. The same HAProxy in the same machine; by hand "
            "it has the least configuration that works.",
            table(["", "ours, requests/s", "by hand, requests/s", "ratio"], requests),
            f"{_COUNT:,} load balancers of two servers each, PUT to a router that has none; then one change "
            f"beside them. Over HTTPS, applied and verified when the answer comes; medians of {_PUTS} and "
            f"{_PATCHES}.",
            table(["HAProxys", "", "ms", "of it applying"], rows),
        ]
    )


# --- requests -----------------------------------------------------------------------------------------


def _compare(lab: Lab, way: Way, say: Say) -> list[object]:
    servers = {
        name: {"address": GUEST_ADDRESS, "port": port} for name, port in (("a", _SERVER), ("b", _SERVER + 1))
    }
    balancer = {"address": documents.PUBLIC_ADDRESS, "port": _PORT, "mode": way.mode, "servers": servers}
    lab.put(_with({"web": balancer}))
    ours, by_hand = [], []
    for number in range(_ROUNDS):
        say(f"{way.what}, {number + 1} of {_ROUNDS}")
        ours.append(_wrk(lab, way))
        with _by_hand(lab, way):
            by_hand.append(_wrk(lab, way))
    here, there = median(ours), median(by_hand)
    return [way.what, f"{here:,.0f}", f"{there:,.0f}", f"{here / there:.0%}"]


def _wrk(lab: Lab, way: Way) -> float:
    """Requests per second; all of them answered."""
    url = f"http://{documents.PUBLIC_ADDRESS}:{_PORT}/"
    argv = ["wrk", "--threads", "1", "--connections", "32", "--duration", f"{_SECONDS}s", *way.options, url]
    said = namespace.run(lab.namespace(PUBLIC), argv, check=True, timeout=60).stdout
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    found = re.search(r"Requests/sec: +([0-9.]+)", said)
    assert found, said
    return float(found[1])


@contextmanager
def _by_hand(lab: Lab, way: Way) -> Iterator[None]:
    """In the place of ours: the rules of the packet filter are the same, and nobody puts ours back."""
    config = _BYHAND.format(mode=way.mode, **_PLACES)
    _sh(lab, f"systemctl stop sysvm-agent {_UNIT}; cat > /run/by-hand.cfg <<'END'\n{config}END\n")
    _sh(lab, "haproxy -D -f /run/by-hand.cfg -p /run/by-hand.pid")
    try:
        yield
    finally:
        lab.hang_up()
        _sh(lab, "kill $(cat /run/by-hand.pid); systemctl start sysvm-agent")
        _until_served(lab)


def _until_served(lab: Lab) -> None:
    deadline = time.monotonic() + 30
    while _sh(lab, f"systemctl is-active {_UNIT} || true").strip() != "active":
        assert time.monotonic() < deadline, "ours comes back"
        time.sleep(0.1)
    time.sleep(0.5)


def _sh(lab: Lab, script: str) -> str:
    return lab.runtime.run(documents.NAME, ["sh", "-e"], stdin=script, check=True, timeout=60).stdout


@contextmanager
def _answering(lab: Lab) -> Iterator[None]:
    """Servers on the guest network that are quicker than what is measured: HAProxy itself, of the router's
    tree, which stays as it is."""
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as directory:
        (Path(directory) / "answering.cfg").write_text(_ANSWERING.format(**_PLACES))
        script = (
            f"mount --bind {directory} {lab.tree}/mnt; exec chroot {lab.tree} haproxy -f /mnt/answering.cfg"
        )
        argv = namespace.entering(lab.namespace(GUEST), ["unshare", "--mount", "sh", "-ec", script])
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            yield
        finally:
            process.terminate()
            process.wait()


# --- how many -----------------------------------------------------------------------------------------


def _with(balancers: Mapping[str, Any], *, processes: int = 1) -> dict[str, Any]:
    document = documents.empty()
    document["load_balancers"] = dict(balancers)
    document["load_balancing"] = {"processes": processes}
    ports = f"{documents.FIRST_PORT}-{documents.FIRST_PORT + 2 * _COUNT}"
    document["firewall"]["ingress"]["rules"] = {
        name: {
            "verdict": "accept",
            "address": documents.PUBLIC_ADDRESS,
            "protocol": "tcp",
            "ports": several,
        }
        for name, several in (("web", _PORT), ("many", ports))
    }
    return document


def _balancer(number: int) -> dict[str, Any]:
    servers = {
        f"server{place}": {"address": documents.guest_address(2 * number + place), "port": 80}
        for place in range(2)
    }
    return {"address": documents.PUBLIC_ADDRESS, "port": documents.FIRST_PORT + number, "servers": servers}


def _scale(lab: Lab, processes: int, say: Say) -> Iterator[list[object]]:
    say(f"{_COUNT:,} load balancers, {processes} HAProxys")
    balancers = {f"lb{number}": _balancer(number) for number in range(_COUNT)}
    many = _with(balancers, processes=processes)
    assert len(json.dumps(many)) > 100_000
    puts = []
    for _ in range(_PUTS):
        lab.put(_with({}))
        puts.append(lab.put(many))
    yield [processes, *_row(f"{_COUNT:,} load balancers", puts)]
    for what, patch in _patches().items():
        say(what)
        taken = [lab.patch(each) for each in patch]
        yield [processes, *_row(what, taken)]


def _patches() -> dict[str, list[dict[str, Any]]]:
    def servers(of: int, **items: Any) -> dict[str, Any]:
        return {"load_balancers": {f"lb{of}": {"servers": items}}}

    numbers = range(_PATCHES)
    return {
        "a weight": [servers(5, server0={"weight": 2 + number}) for number in numbers],
        "a server is drained, or ready": [
            servers(5, server0={"state": "ready" if number % 2 else "drain"}) for number in numbers
        ],
        "one more server": [
            servers(7, **{f"more{number}": {"address": documents.guest_address(5000 + number)}})
            for number in numbers
        ],
        "a server less": [servers(7, **{f"more{number}": None}) for number in numbers],
        "one more load balancer": [
            {"load_balancers": {f"more{number}": _balancer(_COUNT + number)}} for number in numbers
        ],
        "one more load balancer, of udp": [
            {"load_balancers": {f"udp{number}": {**_balancer(_COUNT + number), "mode": "udp"}}}
            for number in numbers
        ],
    }


def _row(what: str, taken: list[tuple[float, Any]]) -> list[object]:
    whole = median(seconds for seconds, _ in taken)
    applying = median(report.seconds or 0 for _, report in taken)
    return [what, milliseconds(whole), milliseconds(applying)]
