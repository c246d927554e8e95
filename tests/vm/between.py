"""An emulated router between networks: its cards are taps on segments, its neighbours are namespaces."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.devcloud import end
from appliance.management.client import Report
from appliance.runtime import namespace
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Interface
from tests.bench.inside import inside
from tests.vm.emulated import Emulated
from tests.vm.tap import card, open_tap

PUBLIC, FORWARDS, INTERNET = "203.0.113.2", "203.0.113.3", "203.0.113.1"
GUEST, OTHER_GUEST = "10.1.1.10", "10.1.2.10"
MACS = {"guest0": "02:00:0a:01:01:01", "guest1": "02:00:0a:01:02:01", "public0": "02:00:cb:00:71:02"}
# Name, segment, MAC address, address with prefix length, gateway.
_NEIGHBOURS = (
    ("vm1", "guest0", "02:00:0a:01:01:0a", f"{GUEST}/24", "10.1.1.1"),
    ("vm2", "guest0", "02:00:0a:01:01:0b", "10.1.1.11/24", "10.1.1.1"),
    ("vm3", "guest1", "02:00:0a:01:02:0a", f"{OTHER_GUEST}/24", "10.1.2.1"),
    ("net", "public0", "02:00:cb:00:71:01", f"{INTERNET}/24", ""),
)


def forward(port: int, protocol: str, target: str) -> dict[str, Any]:
    return {"address": FORWARDS, "protocol": protocol, "ports": port, "target": target, "target_ports": 80}


def document() -> dict[str, Any]:
    """Two networks behind one public address; what comes in by another leads to a guest of each."""
    rules = {
        protocol: {"verdict": "accept", "address": FORWARDS, "protocol": protocol, "ports": "8080-8081"}
        for protocol in ("tcp", "udp")
    }
    return {
        "role": "router",
        "name": "r1",
        "interfaces": {
            "guest0": {"mac": MACS["guest0"], "addresses": ["10.1.1.1/24"], "mtu": 1400},
            "guest1": {"mac": MACS["guest1"], "addresses": ["10.1.2.1/24"]},
            "public0": {
                "mac": MACS["public0"],
                "addresses": [f"{PUBLIC}/24", f"{FORWARDS}/24"],
                "gateway": INTERNET,
            },
        },
        "source_nat": {"guest0": {"address": PUBLIC}, "guest1": {"address": PUBLIC}},
        "port_forwards": {
            "web": forward(8080, "tcp", GUEST),
            "other": forward(8081, "tcp", OTHER_GUEST),
            "game": forward(8080, "udp", GUEST),
        },
        "firewall": {
            "ingress": {"policy": "drop", "rules": rules},
            "egress": {"guest0": {"policy": "accept"}, "guest1": {"policy": "accept"}},
        },
        "accounting": {},
    }


@dataclass
class Between:
    machine: Emulated
    cloud: Containers
    taps: dict[str, int]
    generation: int = 0
    _opened: list[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        arguments: list[str] = []
        for number, (name, tap) in enumerate(self.taps.items(), 1):
            # Each behind a port: the root of a q35 machine lets no card come and go.
            arguments += ["-device", f"pcie-root-port,id={name}-port,slot={number}"]
            arguments += card(tap, identity=name, mac=MACS[name], bus=f"{name}-port")
        self.machine.start(*arguments, files=tuple(self.taps.values()))
        self.machine.wait_until_it_answers()

    def put(self, wanted: Mapping[str, Any]) -> Report:
        self.generation += 1
        with self.machine.agent() as agent:
            return agent.put(json.dumps({**wanted, "generation": self.generation}))

    def changes(self, wanted: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
        """The steps to a document, if it were PUT."""
        with self.machine.agent() as agent:
            return agent.plan(json.dumps({**wanted, "generation": self.generation + 1})).changes

    def usage(self) -> Any:
        with self.machine.agent() as agent:
            return agent.usage()

    def namespace(self, name: str) -> str:
        return full_name(self.cloud.cloud, name)

    def sh(self, script: str) -> str:
        """What a shell in the router prints."""
        return self.machine.run("/bin/sh", "-ec", script)

    def socket(self, name: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of a neighbour's, closed in the end."""
        with inside(self.namespace(name)):
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(10)
        self._opened.append(made)
        return made

    def close(self) -> None:
        for each in self._opened:
            each.close()


@contextmanager
def between(disk: Path, directory: Path, *, name: str = "btw") -> Iterator[Between]:
    """The router with its neighbours, off still; all of it goes in the end."""
    cloud = Containers(f"{name}{os.getpid() % 10**8}")
    cloud.clear()
    with contextlib.ExitStack() as stack:
        stack.callback(cloud.clear)
        cloud.switch.up(tuple(MACS))
        for neighbour, segment, mac, address, gateway in _NEIGHBOURS:
            interface = Interface(segment=segment, mac=mac)
            end.up(cloud.cloud, neighbour, interface=interface, link="eth0", addresses=[address])
            if gateway:
                route = ["ip", "route", "add", "default", "via", gateway]
                namespace.run(full_name(cloud.cloud, neighbour), route, check=True)
        taps = {segment: open_tap(cloud.switch, segment, f"tap-{segment}") for segment in MACS}
        for tap in taps.values():
            stack.callback(os.close, tap)
        lab = Between(Emulated(directory, disk), cloud, taps)
        stack.callback(lab.machine.cut_power)
        stack.callback(lab.close)
        yield lab


def until(true: Callable[[], Any], *, patience: float = 120.0) -> Any:
    """What `true` returns once that is something."""
    deadline = time.monotonic() + patience
    while not (seen := true()):
        assert time.monotonic() < deadline, f"not within {patience:g} s: {true}"
        time.sleep(0.3)
    return seen
