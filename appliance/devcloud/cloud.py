"""The development cloud as a whole: up, down, status and a way in.

guest0 (10.1.1.0/24)      public0 (203.0.113.0/24)    control0 (169.254.3.0/24)
  router, vm1, vm2          router, internet            router, mgmt
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance import disk
from appliance.devcloud import guests, intent, internet, plane, routers
from appliance.devcloud.checks import Prover
from appliance.devcloud.form import chosen, present
from appliance.devcloud.layout import (
    GUESTS,
    INTERNET,
    MANAGEMENT,
    NAME,
    ROUTER,
    SEGMENTS,
)
from appliance.devcloud.vpc import cloud as vpc_cloud
from appliance.devcloud.vpc import failover
from appliance.devcloud.vpc.checks import VpcProver
from appliance.devcloud.vpc.failover import Failover
from appliance.devcloud.vpc.layout import ROUTERS
from appliance.runtime import libvirtd, namespace, remains
from appliance.runtime.naming import RUN, cloud_prefix, full_name, state_directory
from appliance.runtime.runtime import MachineError
from appliance.runtime.segment import Switch
from images.layer import locked

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A line of `status`: what is in the cloud, of what kind, and whether it is up."""

    name: str
    kind: str
    up: bool
    detail: str = ""


def up(
    *,
    cloud: str = NAME,
    virtual: bool = False,
    cache: Path | None = None,
    progress: Progress = lambda step: None,
) -> Prover:
    """Have the cloud up: what is missing of it is started, the rest left alone. Needs root. What proves it.

    Returns when guests are powered on, not when they have booted. Raises RuntimeError if an image can't be
    built, MachineError if a machine can't be started, RemoteError if the router doesn't take its document.
    """
    _expect(cloud, vpc=False)
    there = present(cloud)
    if virtual and not there.virtual and there.runtime.names():
        raise MachineError(f"{cloud} is up as containers: take it down first, or name another --cloud")
    virtual = virtual or there.virtual
    form = chosen(cloud, virtual=virtual, cache=cache, progress=progress)
    router_image, guest_image = form.image("router"), form.image("guest")
    with alone(cloud):
        progress("segments, internet and management plane")
        network_up(cloud)
        form.up()
        remote = plane.up(cloud)
        passwords = _passwords(cloud)
        routers.up(form, remote, image=router_image)
        generation = plane.push(remote, intent.document(passwords))
        progress(f"router runs generation {generation}")
        for name in guests.up(form.runtime, image=guest_image):
            progress(f"{name} powered on")
    return Prover(runtime=form.runtime, cloud=cloud, passwords=passwords)


def up_vpc(
    *,
    cloud: str = NAME,
    redundant: bool = False,
    cache: Path | None = None,
    progress: Progress = lambda step: None,
) -> VpcProver:
    """The same for a cloud that is a VPC, on one router or on a pair."""
    _expect(cloud, vpc=True, redundant=redundant)
    form = chosen(cloud, virtual=False, cache=cache, progress=progress)
    with alone(cloud):
        return vpc_cloud.up(form, redundant=redundant, progress=progress)


def fail_over(prover: VpcProver, *, progress: Progress = lambda step: None) -> Failover:
    """Kill a VPC's primary while flows run, and start it again. Raises MachineError, RemoteError."""
    form = present(prover.cloud)
    with alone(prover.cloud):
        return failover.run(
            prover, lambda name: vpc_cloud.start_again(form, prover.remote, name), progress=progress
        )


def _expect(cloud: str, *, vpc: bool, redundant: bool = False) -> None:
    """Raises MachineError where the cloud is up as something else."""
    here = remains.found(cloud)
    if not here or not Switch(cloud).segments():
        return
    kind, wanted = _kind(cloud), (vpc, redundant)
    if kind != wanted:
        raise MachineError(
            f"{cloud} is up as {_KINDS[kind]}, not as {_KINDS[wanted]}: take it down first, or name another "
            "--cloud"
        )


_KINDS = {
    (False, False): "a network of one router",
    (True, False): "a VPC on one router",
    (True, True): "a VPC on a redundant pair",
}


def _kind(cloud: str) -> tuple[bool, bool]:
    """Whether it is a VPC, and one on a pair."""
    return vpc_cloud.is_there(cloud), vpc_cloud.is_redundant(cloud)


def _passwords(cloud: str) -> dict[str, str]:
    """The guests' passwords: made once for a cloud, so that pushing again changes nothing."""
    path = state_directory(cloud, "guests") / "passwords.json"
    if not path.exists():
        made = {guest.name: secrets.token_urlsafe(12) for guest in GUESTS}
        disk.write_json(path, made)
    known: dict[str, str] = json.loads(path.read_bytes())
    return known


def network_up(cloud: str) -> None:
    """Have all that is no machine: segments, the internet, and the namespace of the management plane."""
    Switch(cloud).up(SEGMENTS)
    internet.up(cloud)
    plane.network_up(cloud)


def down(*, cloud: str = NAME) -> list[str]:
    """Remove the cloud, also what crashes left of it; what there was, a line each. Raises MachineError if
    a process of it can't be ended."""
    with alone(cloud):
        there = remains.found(cloud)
        remains.clear(cloud)
    return there


def status(*, cloud: str = NAME) -> list[Member]:
    """What is in the cloud, seen now."""
    form = present(cloud)
    runtime = form.runtime
    is_vpc, is_redundant = _kind(cloud)
    known = {ROUTER.name, *(guest.name for guest in GUESTS)} if remains.found(cloud) else set()
    places: tuple[str, ...] = (INTERNET, MANAGEMENT)
    more = internet.daemons(cloud)
    if is_vpc:
        known = {*(router.name for router in (ROUTERS if is_redundant else ROUTERS[:1])), *vpc_cloud.GUESTS}
        places, more = vpc_cloud.NAMESPACES, vpc_cloud.daemons(cloud)
    members = []
    for name in sorted(known | set(runtime.names())):
        seen = runtime.status(name)
        process = f"process {seen.leader}, " if seen.leader else ""
        screen = f", display {seen.display}" if seen.display else ""
        detail = f"{process}console {seen.console}{screen}" if seen.running else ""
        members.append(Member(name=name, kind="machine", up=seen.running, detail=detail))
    hypervisor = [libvirtd.daemon(cloud)] if form.virtual else []
    for daemon in [plane.daemon(cloud), *hypervisor, *more]:
        if known or daemon.running():
            members.append(
                Member(name=daemon.name, kind="process", up=daemon.running(), detail=f"log {daemon.log}")
            )
    for segment in Switch(cloud).segments():
        members.append(Member(name=segment, kind="segment", up=True))
    for name in places:
        if known:
            members.append(Member(name=name, kind="namespace", up=namespace.exists(full_name(cloud, name))))
    return members


def shell(name: str, *, cloud: str = NAME) -> int:
    """An interactive shell in a machine, or in a namespace, like `internet` or `mgmt`; its exit status.
    Raises MachineError where there is no such thing."""
    if name in vpc_cloud.NAMESPACES and namespace.exists(full_name(cloud, name)):
        argv = namespace.entering(full_name(cloud, name), [os.environ.get("SHELL", "/bin/sh")])
        return subprocess.run(argv, env={**os.environ, **plane.environment(cloud)}).returncode
    form = present(cloud)
    runtime = form.runtime
    if not runtime.status(name).running:
        running = ", ".join([*runtime.names(), INTERNET, MANAGEMENT]) if runtime.names() else ""
        there = f"there are: {running}" if running else f"{cloud} is not up; `sysvm devcloud up` starts it"
        raise MachineError(f"No {name} runs; {there}")
    if not form.virtual:
        return runtime.shell(name)
    if name == ROUTER.name:
        return routers.login(cloud)
    words = _passwords(cloud).get(name, "?")
    print(f"{name}'s console: log in as debian, password {words}; Ctrl-] leaves it", file=sys.stderr)
    return runtime.shell(name)


@contextmanager
def alone(cloud: str) -> Iterator[None]:
    """One `up` or `down` of a cloud at a time; others wait their turn."""
    cloud_prefix(cloud)
    RUN.mkdir(mode=0o755, exist_ok=True)
    with locked(RUN / f"{cloud}.lock"):
        yield
