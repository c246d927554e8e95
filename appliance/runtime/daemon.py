"""Plain processes of a cloud that outlive us: in a named control group and network namespace, with a log."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.runtime import cgroup, namespace
from appliance.runtime.naming import full_name, run_directory


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """`namespace` is the member of the cloud in whose network it runs (`internet`), `name` its own name."""

    cloud: str
    name: str
    namespace: str
    argv: tuple[str, ...]

    @property
    def log(self) -> Path:
        return run_directory(self.cloud) / f"{self.name}.log"

    def running(self) -> bool:
        return bool(cgroup.processes(full_name(self.cloud, self.name)))

    def start(self) -> None:
        """Start it, unless it runs. It has its own session and doesn't end with us."""
        if not self.running():
            self.launch()

    def launch(self) -> None:
        """Start it, whatever is in its group."""
        full = full_name(self.cloud, self.name)
        run_directory(self.cloud).mkdir(mode=0o700, parents=True, exist_ok=True)
        cgroup.create(full)
        inside = namespace.entering(full_name(self.cloud, self.namespace), self.argv)
        with self.log.open("ab") as log:
            # fmt: off
            subprocess.run(
                cgroup.joined(full, ["setsid", "--fork", *inside]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, env=environment(),
            )
            # fmt: on

    def kill(self) -> None:
        cgroup.kill(full_name(self.cloud, self.name))


def environment() -> dict[str, str]:
    """Ours, but that Python shows at once what it prints."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def all_running(daemons: Sequence[Daemon]) -> bool:
    return all(daemon.running() for daemon in daemons)
