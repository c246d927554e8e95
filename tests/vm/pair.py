"""Two emulated routers that are a redundant pair, with the kernel's own ESP, L2TP and PPP, between a guest
and an internet."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.devcloud import end
from appliance.management.client import AgentError
from appliance.runtime import namespace
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Interface
from tests.vm.between import GUEST, INTERNET, PUBLIC, until
from tests.vm.emulated import Emulated
from tests.vm.tap import card, open_tap

SEGMENTS = ("guest0", "public0", "sync0")
NAMES = ("r1", "r2")
SECRET = "correct horse battery staple"
Change = Callable[[dict[str, Any]], None]


def mac(name: str, segment: str) -> str:
    return f"02:00:00:0{name[1]}:00:{SEGMENTS.index(segment) + 1:02x}"


def document(name: str) -> dict[str, Any]:
    side = int(name[1])
    cards = {segment: {"mac": mac(name, segment)} for segment in SEGMENTS}
    return {
        "role": "router",
        "name": name,
        "interfaces": {
            "guest0": {**cards["guest0"], "addresses": ["10.1.1.1/24"]},
            "public0": {**cards["public0"], "addresses": [f"{PUBLIC}/24"], "gateway": INTERNET},
            "sync0": cards["sync0"],
        },
        "source_nat": {"guest0": {"address": PUBLIC}},
        "firewall": {"egress": {"guest0": {"policy": "accept"}}},
        "accounting": {},
        "redundancy": {
            "priority": 12 - side,
            "virtual_router_id": 51,
            # Emulated machines on a busy host don't speak ten times a second.
            "advert_milliseconds": 2000,
            "peer": f"r{3 - side}",
            "secret": SECRET,
            "sync": "sync0",
            "paths": {"sync0": {"address": f"169.254.4.{side}/30", "peer": f"169.254.4.{3 - side}"}},
            "tracking": {"seconds": 30},
        },
    }


@dataclass
class Pair:
    cloud: Containers
    machines: dict[str, Emulated]
    taps: dict[tuple[str, str], int]
    generation: int = 0
    wanted: dict[str, dict[str, Any]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        arguments: list[str] = []
        for segment in SEGMENTS:
            arguments += card(self.taps[name, segment], identity=segment, mac=mac(name, segment))
        files = tuple(self.taps[name, segment] for segment in SEGMENTS)
        self.machines[name].start(*arguments, files=files)
        self.machines[name].wait_until_it_answers()

    def put(self, change: Change) -> None:
        """To the second one first."""
        self.generation += 1
        for name in reversed(NAMES):
            value = document(name)
            change(value)
            self.wanted[name] = value
            with self.machines[name].agent() as agent:
                agent.put(json.dumps({**value, "generation": self.generation}))

    def drift(self, name: str) -> Any:
        with self.machines[name].agent() as agent:
            return agent.plan(json.dumps({**self.wanted[name], "generation": self.generation + 1})).changes

    def state(self, name: str) -> str:
        with self.machines[name].agent() as agent:
            return str(agent.status().answer.get("redundancy", {}).get("state"))

    def make_primary(self, name: str) -> None:
        """And the other one the backup, which is there and heard."""
        other = NAMES[1 - NAMES.index(name)]
        wanted = {name: "primary", other: "backup"}

        def settled() -> bool:
            states = {each: self.state(each) for each in NAMES}
            if states == {name: "backup", other: "primary"}:
                # It isn't ready yet, maybe.
                with contextlib.suppress(AgentError), self.machines[other].agent() as agent:
                    agent.switch_over()
            return states == wanted

        until(settled)

    def sessions(self, name: str, kind: str) -> dict[str, Any]:
        with self.machines[name].agent() as agent:
            return {item["name"]: item for item in agent.vpn()["ipsec"] if item["kind"] == kind}

    def sh(self, name: str, script: str) -> str:
        return self.machines[name].run("/bin/sh", "-ec", script)

    def namespace(self, name: str) -> str:
        return full_name(self.cloud.cloud, name)


@contextmanager
def pair(disk: Path, directory: Path, *, name: str) -> Iterator[Pair]:
    """Both off still, with a guest `vm1` and an internet `net`; all of it goes in the end."""
    cloud = Containers(f"{name}{os.getpid() % 10**8}")
    cloud.clear()
    with contextlib.ExitStack() as stack:
        stack.callback(cloud.clear)
        cloud.switch.up(SEGMENTS)
        for neighbour, segment, own, address in (
            ("vm1", "guest0", "02:00:0a:01:01:0a", f"{GUEST}/24"),
            ("net", "public0", "02:00:cb:00:71:01", f"{INTERNET}/24"),
        ):
            interface = Interface(segment=segment, mac=own)
            end.up(cloud.cloud, neighbour, interface=interface, link="eth0", addresses=[address])
        route = ["ip", "route", "add", "default", "via", "10.1.1.1"]
        namespace.run(full_name(cloud.cloud, "vm1"), route, check=True)
        machines, taps = {}, {}
        for router in NAMES:
            for segment in SEGMENTS:
                tap = taps[router, segment] = open_tap(cloud.switch, segment, f"tap-{router}-{segment}")
                stack.callback(os.close, tap)
            place = directory / router
            place.mkdir()
            machines[router] = Emulated(place, disk, name=router)
            stack.callback(machines[router].cut_power)
        yield Pair(cloud, machines, taps)


__all__ = ["NAMES", "PUBLIC", "Pair", "pair", "until"]
