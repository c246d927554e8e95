"""What the tests do with the containers, and how the management plane reaches the router's."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_engine import Engine
from pytest_docker.plugin import DockerComposeExecutor

from appliance.boot import API_PORT, ControlInterface
from appliance.management.authority import Authority, boot_json
from appliance.runtime import namespace

CONTROL = "192.168.255.2"
CONTROL_MAC = "02:00:c0:a8:ff:02"
PUBLIC = "203.0.113.5"
SITE = "203.0.113.80"
OUTSIDE = "198.51.100.99"
"""Beyond the engine's host."""
_ASK = """
import socket, sys
to, port, source = sys.argv[1:]
print(socket.create_connection((to, int(port)), 2, (source, 0)).recv(100).decode())
"""


def until(true: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """What `true` returns once that is something; until then it may raise AssertionError."""
    deadline, seen = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if seen := true():
                return seen
        except AssertionError as error:
            seen = error
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s; last: {seen}")


def host() -> str:
    """What a Docker engine usually changes of its host: rules, routes, forwarding."""
    asked = (["nft", "--stateless", "list", "ruleset"], ["ip", "route"], ["sysctl", "net.ipv4.ip_forward"])
    return "".join(subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in asked)


def issue(directory: Path, target: Path) -> None:
    """Make a management plane's state directory, and write the router's boot data."""
    control = ControlInterface(mac=CONTROL_MAC, address=f"{CONTROL}/24")
    authority = Authority.open(directory)
    authority.client_context()
    target.touch(mode=0o600)
    target.write_text(boot_json(authority.boot("r1", "router", control)))


@dataclass(frozen=True, kw_only=True)
class Network:
    engine: Engine
    identity: Path
    """The management plane's state directory."""
    compose: DockerComposeExecutor

    def apply(self, document: Path) -> str:
        """What `sysvm apply` says, as an operator calls it on the engine's host."""
        words = ["apply", str(document), "--at", CONTROL, "--state", str(self.identity)]
        return self._host(sys.executable, "-m", "appliance.cli", *words)

    def get(self, path: str) -> Any:
        """What the router's API answers to the management plane."""
        # fmt: off
        return json.loads(self._host(
            "curl", "--silent", "--show-error", "--fail", "--max-time", "10",
            "--cacert", str(self.identity / "ca.pem"), "--cert", str(self.identity / "client.pem"),
            "--connect-to", f"r1:{API_PORT}:{CONTROL}:{API_PORT}", f"https://r1:{API_PORT}{path}",
        ))
        # fmt: on

    def runs(self) -> bool:
        """The document of the examples, wholly; else it raises."""
        status = self.get("/v1/status")
        assert (status["generation"], status["state"]) == (1, "converged"), status
        return True

    def rules(self) -> str:
        """The firewall of the engine's host, as that sees it."""
        return self._host("nft", "list", "ruleset")

    def run(self, service: str, *argv: str) -> str:
        """What a command in a service's container prints."""
        return self.engine.docker("exec", self.container(service), *argv).strip()

    def ask(self, service: str, address: str, port: int = 80) -> str:
        """From a container: what `who_asks.py` there answers."""
        return self.run(service, "python3", "-c", _ASK, address, str(port), "")

    def ask_from_outside(self, address: str, port: int) -> str:
        """The same, asked by somebody beyond the public network."""
        self._host("ip", "address", "replace", f"{OUTSIDE}/32", "dev", "lo")
        return self._host(sys.executable, "-c", _ASK, address, str(port), OUTSIDE).strip()

    def inspect(self, service: str, what: str) -> str:
        """A Go template's words about a service's container."""
        return self.engine.docker("inspect", "--format", what, self.container(service)).strip()

    def container(self, service: str) -> str:
        return f"sysvm-{service}-1"

    def _host(self, *argv: str) -> str:
        done = namespace.run(self.engine.full, argv)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout
