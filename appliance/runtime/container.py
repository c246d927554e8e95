"""Machines as systemd-nspawn containers: the embedded runtime.

A container is a control group, a network namespace and a directory of runtime files, all three of one name.
What it runs is a tree with its own systemd as process 1; changes to the tree are in memory and go with it.
Nothing here remembers anything: a container runs if its group has a process 1.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from appliance.boot import CREDENTIAL
from appliance.runtime import cgroup, namespace, remains
from appliance.runtime.naming import cloud_prefix, full_name, run_directory, state_directory
from appliance.runtime.readiness import Readiness
from appliance.runtime.runtime import Bind, Interface, Machine, MachineError, Status
from appliance.runtime.segment import Switch

STATE = "/var/lib/sysvm"
TUN = Path("/dev/net/tun")
# systemd(1): halt. What nspawn itself would send its process 1.
HALT = signal.SIGRTMIN + 3
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The root too: where the host itself is in a chroot, that of the mount namespace is not the container's.
ENTERED = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")


class Containers:
    """The containers of one cloud (`runtime.Runtime`)."""

    def __init__(self, cloud: str) -> None:
        self.cloud = cloud
        self.prefix = cloud_prefix(cloud)
        self.switch = Switch(cloud)

    def start(self, machine: Machine, *, wait: float | None = 60.0) -> None:
        full = full_name(self.cloud, machine.name)
        if self.status(machine.name).running:
            raise MachineError(f"{machine.name} runs already")
        # What an earlier one of this name left: a container that powered off, or was killed from outside.
        self.kill(machine.name)
        place = self._place(machine.name)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        namespace.create(full)
        for index, interface in enumerate(machine.interfaces):
            self.switch.plug(interface, into=full, name=interface.name or f"eth{index}")
        cgroup.create(full)
        if machine.keeps:
            self._state(machine.name).mkdir(mode=0o755, parents=True, exist_ok=True)
        with Readiness(place / "notify") as readiness:
            self._launch(machine, full=full, place=place)
            alive = partial(cgroup.processes, full)
            readiness.of_leader(partial(_leader, full), alive=alive, of=self.status(machine.name))
            if wait is None:
                return
            readiness.of_boot(wait, alive=alive, of=self.status(machine.name))
        # It has been read; a private key needn't lie about.
        (place / CREDENTIAL).unlink(missing_ok=True)

    def _launch(self, machine: Machine, *, full: str, place: Path) -> None:
        state = self._state(machine.name) if machine.keeps else None
        argv = nspawn(machine, full=full, place=place, state=state)
        # In a session of its own, or it would go with our terminal.
        detached = cgroup.joined(full, ["setsid", "--fork", *argv])
        environment = {
            "PATH": PATH,
            "NOTIFY_SOCKET": str(place / "notify"),
            # /proc/sys/net belongs to the container's own network namespace; the rest stays read-only.
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            # Several run from one tree, which none of them writes.
            "SYSTEMD_NSPAWN_LOCK": "0",
        }
        with (place / "console").open("ab") as console:
            subprocess.run(
                detached,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                check=True,
            )

    def stop(self, name: str, *, timeout: float = 20.0) -> None:
        full = full_name(self.cloud, name)
        leader = self.status(name).leader
        if leader is not None:
            with suppress(ProcessLookupError):
                os.kill(leader, HALT)
            deadline = time.monotonic() + timeout
            while cgroup.processes(full) and time.monotonic() < deadline:
                time.sleep(0.01)
        self.kill(name)

    def kill(self, name: str) -> None:
        full = full_name(self.cloud, name)
        cgroup.kill(full)
        namespace.delete(full)
        remains.forget_machine(full)

    def destroy(self, name: str) -> None:
        self.kill(name)
        for directory in (self._place(name), self._state(name), self._snapshot(name)):
            if directory.exists():
                shutil.rmtree(directory)

    def attach(self, name: str, interface: Interface) -> None:
        full = self._running(name)
        with namespace.opened(full) as links:
            found = list(links.get_links())
        taken = {link.get_attr("IFLA_ADDRESS"): link.get_attr("IFLA_IFNAME") for link in found}
        if interface.mac in taken:
            raise MachineError(f"{name} has an interface with {interface.mac}: {taken[interface.mac]}")
        free = next(f"eth{number}" for number in count() if f"eth{number}" not in taken.values())
        self.switch.plug(interface, into=full, name=interface.name or free)

    def detach(self, name: str, mac: str) -> None:
        with namespace.opened(self._running(name)) as links:
            for link in links.get_links(kind="veth"):
                if link.get_attr("IFLA_ADDRESS") == mac:
                    links.link("del", index=link["index"])

    def snapshot(self, name: str) -> None:
        self._off(name)
        taken, copy = self._snapshot(name), self._snapshot(f"{name}-new")
        for directory in (copy, taken):
            if directory.exists():
                shutil.rmtree(directory)
        self._state(name).mkdir(mode=0o755, parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", "--", self._state(name), copy], check=True)
        copy.rename(taken)

    def revert(self, name: str) -> None:
        self._off(name)
        taken, state = self._snapshot(name), self._state(name)
        if not taken.exists():
            raise MachineError(f"{name} has no snapshot")
        if state.exists():
            shutil.rmtree(state)
        taken.rename(state)

    def forget_snapshot(self, name: str) -> None:
        if self.has_snapshot(name):
            shutil.rmtree(self._snapshot(name))

    def has_snapshot(self, name: str) -> bool:
        return self._snapshot(name).exists()

    def slowness(self, name: str) -> float:
        return 1.0

    def status(self, name: str) -> Status:
        leader = _leader(full_name(self.cloud, name))
        console = self._place(name) / "console"
        return Status(name=name, running=leader is not None, leader=leader, console=console)

    def names(self) -> list[str]:
        groups = cgroup.names(self.prefix)
        return [full.removeprefix(self.prefix) for full in groups if _leader(full) is not None]

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float | None = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        # fmt: off
        return subprocess.run(
            self._entering(name, argv),
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, env=_environment(),
            capture_output=True, text=True, errors="replace", timeout=timeout, check=check,
        )
        # fmt: on

    def shell(self, name: str) -> int:
        sys.stdout.flush()
        return subprocess.run(self._entering(name, ["su", "--login"]), env=_environment()).returncode

    def clear(self) -> None:
        remains.clear(self.cloud)

    def _entering(self, name: str, argv: Sequence[str]) -> list[str]:
        leader = self.status(name).leader
        if leader is None:
            raise MachineError(f"{name} doesn't run")
        return ["nsenter", f"--target={leader}", *ENTERED, "--", *argv]

    def _running(self, name: str) -> str:
        if not self.status(name).running:
            raise MachineError(f"{name} doesn't run")
        return full_name(self.cloud, name)

    def _off(self, name: str) -> None:
        if self.status(name).running:
            raise MachineError(f"{name} runs: a snapshot is of a machine that is off")

    def _state(self, name: str) -> Path:
        return state_directory(self.cloud, name)

    def _snapshot(self, name: str) -> Path:
        return state_directory(self.cloud, f"{name}-snapshot")

    def _place(self, name: str) -> Path:
        full_name(self.cloud, name)
        return run_directory(self.cloud) / name


def nspawn(machine: Machine, *, full: str, place: Path, state: Path | None = None) -> list[str]:
    """The command of a container; writes the files into `place` that it passes in."""
    binds = list(machine.binds)
    if TUN.is_char_device():
        # For tunnels that the host's kernel can't make.
        binds.append(Bind(source=TUN, target=str(TUN), read_only=False))
    if state is not None:
        binds.append(Bind(source=state, target=STATE, read_only=False))
    passed = place / "files"
    if passed.exists():
        shutil.rmtree(passed)
    for index, (target, content) in enumerate(sorted(machine.files.items())):
        passed.mkdir(exist_ok=True)
        (passed / str(index)).write_bytes(content)
        binds.append(Bind(source=passed / str(index), target=target))
    if machine.boot is not None:
        credential = place / CREDENTIAL
        credential.touch(mode=0o600)
        credential.write_bytes(machine.boot)
    # fmt: off
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--directory", str(machine.image),
        "--volatile=overlay",
        "--machine", full,
        "--hostname", machine.name,
        # The same machine-id at each boot, as a disk would keep it: DHCP client ids are made of it.
        "--uuid", str(uuid.uuid5(uuid.NAMESPACE_DNS, full)),
        # There needn't be a systemd on the host, and its groups are ours.
        "--register=no",
        "--keep-unit",
        f"--network-namespace-path={namespace.DIRECTORY / full}",
        "--capability=CAP_NET_ADMIN",
        "--notify-ready=yes",
        "--console=read-only",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        *([f"--load-credential={CREDENTIAL}:{place / CREDENTIAL}"] if machine.boot is not None else []),
        *(f"--bind{'-ro' if bind.read_only else ''}={_escaped(bind.source)}:{_escaped(bind.target)}"
          for bind in binds),
        # The console is a file: no colours.
        "--setenv=SYSTEMD_COLORS=0",
        *(f"--setenv={name}={value}" for name, value in sorted(machine.environment.items())),
    ]
    # fmt: on


def _escaped(path: Path | str) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


def _environment() -> dict[str, str]:
    """What a command in a machine gets: nothing of ours but the terminal."""
    return {"PATH": PATH, "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}


def _leader(full: str) -> int | None:
    """The process of a group that is process 1 of the PID namespace right below the host's."""
    for process in cgroup.processes(full):
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue  # It ended meanwhile.
        fields = dict(line.split(":", 1) for line in status.splitlines())
        numbers = fields["NSpid"].split()
        # Until it becomes the tree's init it is nspawn, still putting the container together.
        if len(numbers) == 2 and numbers[1] == "1" and fields["Name"].strip() != "systemd-nspawn":
            return process
    return None
