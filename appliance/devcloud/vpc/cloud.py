"""The VPC as a whole: up, and what is in it. Down and a way in are those of every development cloud.

guest0 (10.2.1.0/24)   guest1 (10.2.2.0/24)   public0 (203.0.113.0/24)            sync0, control0
  r1, r2, web1, web2     r1, r2, db1            r1, r2, internet, office, laptop    r1, r2 (and mgmt)
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.devcloud import guests, internet, plane, routers
from appliance.devcloud.form import Form
from appliance.devcloud.layout import (
    INTERNET,
    MANAGEMENT,
    WEB_ADDRESS,
)
from appliance.devcloud.vpc import echo, intent, peers
from appliance.devcloud.vpc.checks import VpcProver
from appliance.devcloud.vpc.keys import keys
from appliance.devcloud.vpc.layout import (
    ALONE,
    CLIENT_ADDRESSES,
    DATABASE_SEGMENT,
    ECHO_PORT,
    LAPTOP,
    OFFICE,
    ROUTERS,
    SEGMENTS,
    SYNC_SEGMENT,
    TIERS,
    VpcRouter,
)
from appliance.management.remote import Remote, RemoteError
from appliance.runtime.daemon import Daemon
from appliance.runtime.runtime import MachineError
from appliance.runtime.segment import Switch

Progress = Callable[[str], None]
NAMESPACES = (INTERNET, MANAGEMENT, OFFICE, LAPTOP)
GUESTS = tuple(guest.name for tier in TIERS.values() for guest in tier)
_PAIR_SECONDS = 60.0


def up(form: Form, *, redundant: bool, progress: Progress) -> VpcProver:
    """Have it up, on one router or two: what is missing is started, the rest left alone. What proves it.

    Raises as `cloud.up`.
    """
    cloud, tree, guest_image = form.cloud, form.image("router"), form.image("guest")
    progress("segments, internet and management plane")
    _network_up(cloud, redundant=redundant)
    remote = plane.up(cloud)
    chosen = ROUTERS if redundant else (ALONE,)
    for router in chosen:
        routers.up(form, remote, image=tree, router=router, wait=None)
    for link, tier in TIERS.items():
        for guest in tier:
            if not form.runtime.status(guest.name).running:
                form.runtime.start(guests.machine(guest, image=guest_image, segment=link), wait=None)
                progress(f"{guest.name} powered on")
    secrets = keys(cloud)
    for router in chosen:
        generation = plane.push(remote, intent.document(router, secrets))
        progress(f"{router.name} runs generation {generation}")
    if redundant:
        primary = settled(remote)
        progress(f"{primary} is the primary")
    peers.up(cloud, secrets, tree)
    progress(f"{OFFICE} and {LAPTOP} know where the VPC is")
    return VpcProver(runtime=form.runtime, cloud=cloud, remote=remote, redundant=redundant)


def settled(remote: Remote, *, seconds: float = _PAIR_SECONDS) -> str:
    """The primary, once the other router is its backup. Raises MachineError."""
    deadline = time.monotonic() + seconds
    while True:
        states = {router.name: redundancy(remote, router) for router in ROUTERS}
        found = {name: str(state.get("state")) for name, state in states.items()}
        heard = all(state.get("peer", {}).get("heard") for state in states.values())
        if sorted(found.values()) == ["backup", "primary"] and heard:
            return next(name for name, state in found.items() if state == "primary")
        if time.monotonic() > deadline:
            said = ", ".join(f"{name} is {state}" for name, state in found.items())
            raise MachineError(f"The two are no pair after {seconds:g} s: {said}")
        time.sleep(0.1)


def redundancy(remote: Remote, router: VpcRouter) -> dict[str, Any]:
    """What a router says of its pair; nothing where it can't be asked."""
    try:
        _, status = remote.ask("GET", f"/v1/appliances/{router.name}/status")
    except RemoteError:
        return {}
    return dict(status.get("redundancy") or {})


def daemons(cloud: str) -> list[Daemon]:
    """The processes outside of machines, to look at."""
    return [*internet.daemons(cloud), _echo(cloud), *peers.daemons(cloud, Path("/"))]


def is_there(cloud: str) -> bool:
    return DATABASE_SEGMENT in Switch(cloud).segments()


def is_redundant(cloud: str) -> bool:
    """Whether a VPC that is there is one on a pair."""
    return SYNC_SEGMENT in Switch(cloud).segments()


def start_again(form: Form, remote: Remote, name: str) -> None:
    """Power on a router of the pair that was killed, and wait until it is the backup. Raises as `up`."""
    (router,) = (each for each in ROUTERS if each.name == name)
    routers.up(form, remote, image=form.image("router"), router=router)
    settled(remote)


def _echo(cloud: str) -> Daemon:
    argv = (sys.executable, str(Path(echo.__file__)), str(ECHO_PORT), WEB_ADDRESS)
    return Daemon(cloud=cloud, name="internet-echo", namespace=INTERNET, argv=argv)


def _network_up(cloud: str, *, redundant: bool) -> None:
    Switch(cloud).up([segment for segment in SEGMENTS if segment != SYNC_SEGMENT or redundant])
    internet.up(cloud)
    for address in CLIENT_ADDRESSES:
        argv = ["ip", "address", "replace", f"{address}/32", "dev", "lo"]
        internet.run(cloud, argv, check=True)
    _echo(cloud).start()
    plane.network_up(cloud)
