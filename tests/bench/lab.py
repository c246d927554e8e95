"""A router in a cloud of its own, with a client at each of its sides."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.boot import ControlInterface
from appliance.devcloud import end as ends
from appliance.management.authority import Authority, boot_json
from appliance.management.client import Agent, Report
from appliance.runtime import cgroup, namespace
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name, state_directory
from appliance.runtime.runtime import Interface, Machine
from images.tree import build
from tests.bench import documents
from tests.bench.inside import inside

CLOUD = "bchlab"
CONTROL, MANAGEMENT_ADDRESS = "169.254.3.2", "169.254.3.1"
GUEST, PUBLIC, MANAGEMENT = "guest", "public", "mgmt"
GUEST_ADDRESS = "10.1.1.1"
FIRST_GUEST = 20_000
"""Number of the first of the guests that come as one item more."""
PUBLIC_CLIENT = "203.0.113.1"


@dataclass
class Lab:
    runtime: Containers
    authority: Authority
    tree: Path
    generation: int = 0
    _agent: Agent | None = field(default=None, repr=False)

    @property
    def group(self) -> str:
        """The router's control group: every process of it is there."""
        return full_name(self.runtime.cloud, documents.NAME)

    def namespace(self, name: str) -> str:
        return full_name(self.runtime.cloud, name)

    # --- the router ---------------------------------------------------------------------------------

    def machine(self) -> Machine:
        control = ControlInterface(mac=documents.CONTROL_MAC, address=f"{CONTROL}/24")
        boot = self.authority.boot(documents.NAME, "router", control)
        return Machine(
            name=documents.NAME,
            image=self.tree,
            interfaces=(
                Interface(segment="guest0", mac=documents.GUEST_MAC),
                Interface(segment="public0", mac=documents.PUBLIC_MAC),
                Interface(segment="control0", mac=documents.CONTROL_MAC),
            ),
            boot=boot_json(boot).encode(),
            keeps=True,
        )

    def start_router(self, *, keep_state: bool = False) -> None:
        """A router that is new, or finds what the last one stored."""
        self.stop_router()
        if not keep_state:
            shutil.rmtree(state_directory(self.runtime.cloud, documents.NAME), ignore_errors=True)
            self.generation = 0
        self.runtime.start(self.machine())

    def stop_router(self) -> None:
        self.hang_up()
        self.runtime.kill(documents.NAME)

    def agent_process(self) -> int:
        """The agent's process id on the host."""
        for process in cgroup.processes(self.group):
            if b"appliance.agent" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
        raise LookupError("The agent doesn't run")

    def guest(self, number: int) -> str:
        """The namespace of this one guest, which has its MAC address: the metadata service looks at it."""
        address = f"{documents.guest_address(number)}/16"
        return end(f"guest{number}", "guest0", documents.guest_mac(number), [address])

    # --- its API ------------------------------------------------------------------------------------

    @property
    def agent(self) -> Agent:
        """Over one connection from the management namespace, which stays open."""
        if self._agent is None:
            agent = Agent(name=documents.NAME, host=CONTROL, context=self.authority.client_context())
            with inside(self.namespace(MANAGEMENT)):
                agent.status()
            self._agent = agent
        return self._agent

    def hang_up(self) -> None:
        """Close the connection; the agent does so itself with one that has been idle for 20 s."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    def put(self, document: Mapping[str, Any]) -> tuple[float, Report]:
        """The seconds until the answer, and the answer. Making the JSON is the client's, and not counted."""
        self.generation += 1
        body = json.dumps({**document, "generation": self.generation}).encode()
        agent = self.agent
        started = time.perf_counter()
        report = agent.put(body)
        return time.perf_counter() - started, report

    def patch(self, patch: Mapping[str, Any]) -> tuple[float, Report]:
        self.generation += 1
        agent = self.agent
        started = time.perf_counter()
        report = agent.patch(patch)
        return time.perf_counter() - started, report


@contextmanager
def laboratory(*, router: bool = True) -> Iterator[Lab]:
    """The cloud up, with a router that has booted (unless told otherwise), and all of it gone after."""
    runtime = Containers(CLOUD)
    runtime.clear()
    try:
        runtime.switch.up(("guest0", "public0", "control0"))
        end(GUEST, "guest0", "02:00:0a:01:01:02", [f"{GUEST_ADDRESS}/16"])
        end(PUBLIC, "public0", "02:00:cb:00:71:01", [f"{PUBLIC_CLIENT}/24"])
        end(MANAGEMENT, "control0", "02:00:a9:fe:03:01", [f"{MANAGEMENT_ADDRESS}/24"])
        namespace.run(
            full_name(CLOUD, GUEST),
            ["ip", "route", "add", "default", "via", documents.GATEWAY],
            check=True,
        )
        with tempfile.TemporaryDirectory(prefix="sysvm-bench-") as directory:
            lab = Lab(
                runtime=runtime,
                authority=Authority.open(Path(directory) / "authority"),
                tree=build("router"),
            )
            if router:
                lab.start_router()
            yield lab
    finally:
        runtime.clear()


def end(name: str, segment: str, mac: str, addresses: list[str]) -> str:
    """A client on a segment, if it is not there yet; its namespace."""
    ends.up(
        CLOUD,
        name,
        interface=Interface(segment=segment, mac=mac),
        link=segment,
        addresses=addresses,
    )
    return full_name(CLOUD, name)
