"""Packets between a guest and the outside, through the router's machine and through a kernel that only
translates addresses.

The machine is the same for all of them, and its kernel: what is measured in turn is what the rules cost.
"""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from appliance.runtime import namespace
from images.image import build as build_image
from images.step import Steps
from images.tree import default_cache
from tests.bench.benchmark import Say, table
from tests.vm.between import INTERNET, PUBLIC, Between, between, document

TITLE = "Forwarding through the virtual machine"
ROOT = Path(__file__).parents[2]
_ROUNDS = 5
_SECONDS = 3.0
_WINDOW = 64
"""Datagrams under way: so many that the machine is always busy, so few that none is lost."""
_PORT = 7
_PLAIN = "a kernel without rules, that only forwards"
_NAT = "plain NAT: a kernel with one rule, nft's masquerade"
_MASQUERADE = "type nat hook postrouting priority srcnat; oifname public0 masquerade"
_RULES = (10, 10_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    packets: float
    """Per second, there and back."""
    per_core: float
    """Packets per second of processor time that the whole machine took, emulation included."""
    megabits: float
    """Of TCP, per second."""


def run(say: Say) -> str:
    with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as directory:
        place = Path(directory)
        say("the image")
        steps = Steps(log=place / "log")
        image = build_image("router", out=place, cache=default_cache(), steps=steps, formats=["qcow2"])
        with between(image.directory / "sysvm-router.qcow2", place, name="bchfw") as lab:
            say("boot")
            lab.start()
            seen = _measure(lab, say)
    return _text(seen)


def _measure(lab: Between, say: Say) -> dict[str, list[Seen]]:
    # Where nothing translates addresses, answers need a way back.
    back = ["ip", "route", "add", "10.1.1.0/24", "via", PUBLIC]
    namespace.run(lab.namespace("net"), back, check=True)
    uncounted = document()
    del uncounted["accounting"]
    modes: Mapping[str, Callable[[], object]] = {
        _PLAIN: lambda: _plain(lab),
        _NAT: lambda: _nat(lab),
        "router, fast path on, as is the default": lambda: _router(lab, document()),
        **{
            f"router, fast path {'on' if fast else 'off'}, {count:,} firewall rules": partial(
                _router, lab, {**_with_rules(count), "fast_path": fast}
            )
            for fast in (True, False)
            for count in _RULES
        },
        "router, fast path on, nothing counted": lambda: _router(lab, uncounted),
        "router, fast path off": lambda: _router(lab, {**document(), "fast_path": False}),
    }
    _router(lab, document())
    seen: dict[str, list[Seen]] = {mode: [] for mode in modes}
    with _servers(lab):
        for number in range(_ROUNDS):
            for mode, begin in modes.items():
                say(f"{mode}, {number + 1} of {_ROUNDS}")
                begin()
                _echoes(lab, seconds=0.5)
                seen[mode].append(_once(lab))
    return seen


def _router(lab: Between, wanted: Mapping[str, object]) -> None:
    lab.sh("systemctl kill --signal=CONT sysvm-agent")
    lab.put(wanted)


def _plain(lab: Between) -> None:
    """Addresses, routes and forwarding stay as they were; only the agent would put rules back: it waits."""
    lab.sh("systemctl kill --signal=STOP sysvm-agent; nft flush ruleset")
    assert lab.sh("cat /proc/sys/net/ipv4/ip_forward").strip() == "1"


def _nat(lab: Between) -> None:
    _plain(lab)
    lab.sh(f"nft 'add table ip plain; add chain ip plain out {{ {_MASQUERADE}; }}'")


def _with_rules(count: int) -> dict[str, Any]:
    """Half of them for what comes in, half for what goes out; none is about the bench's own packets."""
    found = document()
    far = [f"198.18.{number // 256}.{number % 256}/32" for number in range(count // 2)]
    found["firewall"]["ingress"]["rules"] |= {
        f"in-{number}": {
            "verdict": "accept", "address": PUBLIC, "protocol": "tcp", "ports": 1000 + number % 5000,
            "source_cidrs": [cidr],
        }
        for number, cidr in enumerate(far)
    }  # fmt: skip
    found["firewall"]["egress"]["guest0"]["rules"] = {
        f"out-{number}": {
            "verdict": "drop", "protocol": "udp", "ports": 1000 + number % 5000, "destination_cidrs": [cidr],
        }
        for number, cidr in enumerate(far)
    }  # fmt: skip
    return found


def _once(lab: Between) -> Seen:
    assert lab.machine.process is not None
    before = _processor_seconds(lab.machine.process.pid)
    packets, seconds = _echoes(lab, seconds=_SECONDS)
    processor = _processor_seconds(lab.machine.process.pid) - before
    return Seen(packets=packets / seconds, per_core=packets / processor, megabits=_tcp(lab))


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _servers(lab: Between) -> Iterator[None]:
    place = lab.namespace("net")
    commands = (["iperf3", "--server"], [sys.executable, "-m", "tests.bench.forwarding", "serve"])
    running = [
        subprocess.Popen(namespace.entering(place, argv), cwd=ROOT, stdout=subprocess.DEVNULL)
        for argv in commands
    ]
    try:
        time.sleep(1)
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait()


def _echoes(lab: Between, *, seconds: float) -> tuple[int, float]:
    """Packets that passed the machine, and in how many seconds."""
    argv = [sys.executable, "-m", "tests.bench.forwarding", "ask", str(seconds)]
    said = subprocess.run(
        namespace.entering(lab.namespace("vm1"), argv), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    packets, taken = json.loads(said)
    return packets, taken


def _tcp(lab: Between) -> float:
    argv = ["iperf3", "--client", INTERNET, "--time", f"{_SECONDS:g}", "--json"]
    done = namespace.run(lab.namespace("vm1"), argv, check=True)
    bits: float = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    return bits / 1e6


def _text(seen: Mapping[str, list[Seen]]) -> str:
    def middle(mode: str, what: str) -> float:
        return median(float(getattr(each, what)) for each in seen[mode])

    rows = []
    for mode in seen:
        row = [mode]
        for what in ("packets", "per_core", "megabits"):
            here, plain = middle(mode, what), middle(_NAT, what)
            row += [f"{here:,.0f}", f"{here / plain:.0%}"]
        rows.append(row)
    head = ["", "packets/s", "ratio", "packets/s per core", "ratio", "TCP Mbit/s", "ratio"]
    text = (
        f"Emulated by QEMU (TCG), one processor: medians of {_ROUNDS} rounds in turn, {_SECONDS:g} s each. "
        "Ratios are to plain NAT's. Packets are datagrams of 22 bytes between a guest and the "
        f"outside, there and back, {_WINDOW} under way; per core means per second of processor time that "
        "QEMU took in all. TCP comes in pieces of up to 64 KiB, as virtual cards hand it over."
    )
    return f"{text}\n\n{table(head, rows)}"


def _serve() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((INTERNET, _PORT))
        while True:
            content, peer = server.recvfrom(100)
            server.sendto(content, peer)


def _ask(seconds: float) -> tuple[int, float]:
    """Each answer is the next question. Should all be lost, it begins anew."""
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((INTERNET, _PORT))
        poll = select.poll()
        poll.register(client, select.POLLIN)
        started = time.perf_counter()
        while time.perf_counter() < started + seconds:
            for _ in range(_WINDOW):
                client.send(bytes(22))
            while poll.poll(500) and time.perf_counter() < started + seconds:
                client.recv(100)
                client.send(bytes(22))
                count += 2
        return count, time.perf_counter() - started


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve()
    print(json.dumps(_ask(float(sys.argv[2]))))
