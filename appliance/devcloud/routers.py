"""The development cloud's router: an appliance of the management plane, in the form that the cloud has."""

import subprocess
from pathlib import Path
from typing import Any

from appliance.deployment import Deployment
from appliance.devcloud.form import Form, tree_of
from appliance.devcloud.layout import CONTROL_SEGMENT, GUEST_SEGMENT, MANAGEMENT, PUBLIC_SEGMENT, ROUTER
from appliance.management.placement import Card, Placement
from appliance.management.remote import Remote, RemoteError
from appliance.runtime import namespace
from appliance.runtime.naming import full_name, state_directory

_NOT_FOUND = 404


def up(form: Form, remote: Remote, *, image: Path) -> None:
    """Have it running from this image, known to the management plane. One from another image is upgraded.

    Raises MachineError, RemoteError, UnhealthyError, WentBackError.
    """
    known(remote)
    runtime = form.runtime
    if runtime.status(ROUTER.name).running:
        running = runtime.run(ROUTER.name, ["cat", "/usr/lib/sysvm/image"]).stdout.strip()
        if running != tree_of(image):
            form.progress(f"router runs from {running}: upgrading it")
            Deployment.of(remote, ROUTER.name, progress=form.progress).upgrade(image)
        return
    placement = Placement(
        host=form.host,
        cloud=form.cloud,
        image=str(image),
        interfaces=[
            Card(segment=GUEST_SEGMENT, mac=ROUTER.guest_mac),
            Card(segment=PUBLIC_SEGMENT, mac=ROUTER.public_mac),
            Card(segment=CONTROL_SEGMENT, mac=ROUTER.control_mac),
        ],
        ssh_keys=[_key(form.cloud).with_suffix(".pub").read_text().strip()] if form.virtual else [],
    )
    deployment = Deployment(remote=remote, name=ROUTER.name, placement=placement, progress=form.progress)
    deployment.place().start(wait=60.0)
    form.progress("router powered on")


def known(remote: Remote) -> None:
    """Have the management plane know it."""
    try:
        remote.ask("GET", f"/v1/appliances/{ROUTER.name}")
    except RemoteError as error:
        if error.status != _NOT_FOUND:
            raise
        control = {"mac": ROUTER.control_mac, "address": f"{ROUTER.control_address}/24"}
        body: dict[str, Any] = {"name": ROUTER.name, "role": "router", "control": control}
        remote.ask("POST", "/v1/appliances", body=body)


def login(cloud: str) -> int:
    """A shell in the router as a virtual machine, by ssh through its control interface; its exit status."""
    # fmt: off
    argv = [
        "ssh", "-q", "-i", str(_key(cloud)), "-o", "IdentitiesOnly=yes",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        f"root@{ROUTER.control_address}",
    ]
    # fmt: on
    return subprocess.run(namespace.entering(full_name(cloud, MANAGEMENT), argv)).returncode


def _key(cloud: str) -> Path:
    """The private key for that, made when it is first wanted."""
    path = state_directory(cloud, "ssh") / "key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        comment = ["-q", "-t", "ed25519", "-N", "", "-C", f"devcloud {cloud}"]
        subprocess.run(["ssh-keygen", *comment, "-f", path], check=True)
    return path
