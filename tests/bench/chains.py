"""Packets from a guest to the outside where the kernel has no flowtables, as in a container on such a host:
every packet takes the chains. Next to the same kernel's plain NAT, in the same place."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from appliance.runtime import namespace
from tests.bench import documents
from tests.bench.benchmark import Say, table
from tests.bench.lab import GUEST, PUBLIC, PUBLIC_CLIENT, Lab, laboratory

TITLE = "Forwarding by chains alone"
_ROUNDS = 7
_SECONDS = 1
_PORT = 7
_BURST = 1_000
_ROOT = Path(__file__).parents[2]
_RULES = (10, 10_000)
_NAT = "plain NAT: one rule, nft's masquerade"
_MASQUERADE = "type nat hook postrouting priority srcnat; oifname public0 masquerade"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    nanoseconds: float
    """Of the processor's time, for each datagram that is sent and forwarded."""
    megabits: float
    """Of TCP, per second."""


def run(say: Say) -> str:
    with laboratory() as lab, _servers(lab):
        uncounted = _with_rules(_RULES[0])
        del uncounted["accounting"]
        modes: Mapping[str, Callable[[], object]] = {
            _NAT: lambda: _plain(lab),
            **{f"router, {count:,} firewall rules": partial(_router, lab, count) for count in _RULES},
            f"router, {_RULES[0]} firewall rules, nothing counted": lambda: _put(lab, uncounted),
        }
        seen: dict[str, list[Seen]] = {mode: [] for mode in modes}
        # It leaves addresses and routes to the kernel that translates only.
        _router(lab, _RULES[0])
        for number in range(_ROUNDS):
            for mode, begin in modes.items():
                say(f"{mode}, {number + 1} of {_ROUNDS}")
                begin()
                seen[mode].append(Seen(nanoseconds=_datagrams(lab), megabits=_tcp(lab)))
    return _text(seen)


def _router(lab: Lab, count: int) -> None:
    _put(lab, _with_rules(count))


def _put(lab: Lab, wanted: Mapping[str, Any]) -> None:
    _sh(lab, "systemctl kill --signal=CONT sysvm-agent")
    lab.hang_up()
    lab.put({**wanted, "fast_path": False})


def _plain(lab: Lab) -> None:
    """Addresses, routes and forwarding stay as they were; only the agent would put rules back: it waits."""
    _sh(lab, "systemctl kill --signal=STOP sysvm-agent; nft flush ruleset")
    _sh(lab, f"nft 'add table ip plain; add chain ip plain out {{ {_MASQUERADE}; }}'")


def _sh(lab: Lab, script: str) -> None:
    lab.runtime.run(documents.NAME, ["sh", "-e"], stdin=script, check=True, timeout=60)


def _with_rules(count: int) -> dict[str, Any]:
    """None of them is about the bench's own packets."""
    found = documents.filled(count // 2, "firewall rules")
    found["firewall"]["egress"]["guest0"] = {
        "policy": "accept",
        "rules": {
            f"out-{number}": {
                "verdict": "drop",
                "protocol": "udp",
                "ports": 1000 + number % 4000,
                "destination_cidrs": [f"198.18.{number // 256}.{number % 256}/32"],
            }
            for number in range(count // 2)
        },
    }
    return found


@contextmanager
def _servers(lab: Lab) -> Iterator[None]:
    commands = (["iperf3", "--server"], [sys.executable, "-m", "tests.bench.chains", "serve"])
    running = [
        subprocess.Popen(
            namespace.entering(lab.namespace(PUBLIC), argv), cwd=_ROOT, stdout=subprocess.DEVNULL
        )
        for argv in commands
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait()


def _datagrams(lab: Lab) -> float:
    argv = [sys.executable, "-m", "tests.bench.chains", "send"]
    argv = namespace.entering(lab.namespace(GUEST), argv)
    return float(subprocess.run(argv, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _tcp(lab: Lab) -> float:
    argv = ["iperf3", "--client", PUBLIC_CLIENT, "--time", str(_SECONDS), "--json"]
    done = namespace.run(lab.namespace(GUEST), argv, check=True, timeout=60)
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6)


def _serve() -> None:
    """Answer, and then look away for as long as it was asked to: what comes meanwhile finds no room, and
    wakes nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        server.bind((PUBLIC_CLIENT, _PORT))
        while True:
            content, peer = server.recvfrom(100)
            if not content.startswith(b"\0"):
                server.sendto(content, peer)
                time.sleep(float(content))


def _send() -> float:
    """Nanoseconds for each: an established connection's, one way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((PUBLIC_CLIENT, _PORT))
        client.settimeout(1)
        for away in (b"0", b"0", str(2 * _SECONDS).encode()):
            answer = b""
            while answer != away:
                client.send(away)
                with suppress(TimeoutError):
                    answer = client.recv(100)
        client.settimeout(None)
        content, count = bytes(22), 0
        started = time.thread_time()
        while (taken := time.thread_time() - started) < _SECONDS:
            for _ in range(_BURST):
                client.send(content)
            count += _BURST
        return taken / count * 1e9


def _text(seen: Mapping[str, list[Seen]]) -> str:
    def middle(mode: str, what: str) -> float:
        return median(float(getattr(each, what)) for each in seen[mode])

    plain, rows = middle(_NAT, "nanoseconds"), []
    for mode in seen:
        took, carried = middle(mode, "nanoseconds"), middle(mode, "megabits")
        ratio = carried / middle(_NAT, "megabits")
        rows.append([mode, f"{took:,.0f}", f"{plain / took:.0%}", f"{carried:,.0f}", f"{ratio:.0%}"])
    head = ["", "ns for a datagram", "packet rate's ratio", "TCP Mbit/s", "ratio"]
    text = (
        "A container on this machine's own kernel, which forwards in the sender's time: his processor's "
        "time for a datagram of 22 bytes, to an end that drops it, is what it costs to send and to forward. "
        f"TCP by iperf3 comes in pieces of up to 64 KiB. Medians of {_ROUNDS} rounds in turn, {_SECONDS} s "
        "each; ratios are to plain NAT's."
    )
    return f"{text}\n\n{table(head, rows)}"


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve()
    print(_send())
