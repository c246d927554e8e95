"""A Docker engine of the tests' own: Debian 13's, in a tree, and all that it does contained.

Installed by apt it would start at once, and at each boot, and change the host's firewall and forwarding.
Here it has namespaces of its own for network, mounts, processes and control groups, so it finds a host with
the unified hierarchy alone and ends with the tests, containers and all. It is the same engine on Debian 12,
whose own can't give each card its MAC address.
"""

import fcntl
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from appliance.runtime import cgroup, namespace
from appliance.runtime.container import PATH
from appliance.runtime.naming import full_name
from images import packages
from images.layer import layer
from images.tree import default_cache

PACKAGES = ("docker-cli", "docker-compose", "docker.io")
_SECONDS = 30.0
# Not /tmp: that may be memory.
_PLACES = Path("/var/tmp")
# The tree as root, as it is; written are only /run, /tmp and the directory of this engine, which has the
# same name inside and outside, as bind mounts of containers want it. /sys is of its own network. It has a
# control group beside the containers': where there are groups below, no process may be (cgroups(7)).
_CONTAINED = """
tree=$1 place=$2
shift 2
mount --bind "$tree" "$tree"
mount -o remount,bind,ro "$tree"
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount -t sysfs sysfs "$tree/sys"
mount -t cgroup2 cgroup2 "$tree/sys/fs/cgroup"
for directory in run tmp var/tmp; do mount -t tmpfs tmpfs "$tree/$directory"; done
mkdir -p "$tree/$place"
mount --bind "$place" "$tree/$place"
cd "$tree"
pivot_root . .
umount --lazy .
mkdir /sys/fs/cgroup/engine
echo 0 > /sys/fs/cgroup/engine/cgroup.procs
exec "$@"
"""


class EngineError(Exception):
    """Why there is no engine, in the last words it said."""


def tree() -> Path:
    """The tree that the engine is in, from the cache or made."""
    return layer(default_cache(), f"docker-{packages.key(PACKAGES)}", packages.fill(PACKAGES))


def sweep() -> None:
    """Remove what is left of engines whose tests were killed: the processes went with them."""
    for place in _PLACES.glob("sysvm-*-docker-*"):
        with suppress(OSError), (place / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(place)


def _remove(place: Path) -> None:
    full = place.name.rpartition("-")[0]
    cgroup.kill(full)
    namespace.delete(full)
    shutil.rmtree(place)


class Engine:
    """Started by `start`; what it made is gone after `stop`."""

    def __init__(self, cloud: str) -> None:
        sweep()
        self.full = full_name(cloud, "docker")
        self._tree = tree()
        self.place = Path(tempfile.mkdtemp(prefix=f"{self.full}-", dir=_PLACES))
        self._lock = (self.place / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._log = self.place / "log"

    def start(self) -> None:
        """Returns when it answers. Raises EngineError where it doesn't start."""
        namespace.create(self.full)
        cgroup.create(self.full)
        # fmt: off
        argv = cgroup.joined(self.full, namespace.entering(self.full, [
            "setpriv", "--pdeathsig", "KILL",
            "unshare", "--mount", "--cgroup", "--pid", "--fork", "--kill-child=KILL",
            "sh", "-euc", _CONTAINED, "engine", str(self._tree), str(self.place),
            "dockerd", "--host", self._address, "--data-root", f"{self.place}/data",
        ]))
        # fmt: on
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": PATH}
            )
        deadline = time.monotonic() + _SECONDS
        while self._run("version").returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                lines = self._log.read_text(errors="replace").splitlines()
                raise EngineError(f"dockerd doesn't start: {''.join(lines[-1:])}")
            time.sleep(0.1)

    def stop(self) -> None:
        _remove(self.place)
        self._lock.close()

    def docker(self, *argv: str, timeout: float = 120.0) -> str:
        """What a command prints. Raises AssertionError with its words when it fails."""
        done = self._run(*argv, timeout=timeout)
        assert done.returncode == 0, (
            f"docker {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def command(self, program: str) -> list[str]:
        """The command line of a client of it, for whoever has another environment."""
        settings = [f"{name}={value}" for name, value in self._environment().items()]
        return ["env", *settings, f"{self._tree}/usr/bin/{program}"]

    @property
    def _address(self) -> str:
        return f"unix://{self.place}/socket"

    def _environment(self) -> dict[str, str]:
        # Whoever runs the tests may have settings of their own, proxies and the like.
        return {"PATH": PATH, "DOCKER_HOST": self._address, "DOCKER_CONFIG": f"{self.place}/config"}

    def _run(self, *argv: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        # fmt: off
        return subprocess.run(
            [f"{self._tree}/usr/bin/docker", *argv], env=self._environment(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout,
        )
        # fmt: on
