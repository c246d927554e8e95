"""The development cloud's router: an appliance of the management plane, in the form that the cloud has."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from appliance.deployment import Deployment
from appliance.devcloud.form import Form, tree_of
from appliance.devcloud.layout import MANAGEMENT, ROUTER
from appliance.management.placement import Card, Placement
from appliance.management.remote import Remote, RemoteError
from appliance.runtime import namespace
from appliance.runtime.naming import full_name, state_directory

_NOT_FOUND = 404


class Member(Protocol):
    """A router of a cloud's."""

    @property
    def name(self) -> str: ...
    @property
    def control_mac(self) -> str: ...
    @property
    def control_address(self) -> str: ...
    @property
    def cards(self) -> Mapping[str, str]:
        """MAC addresses by segment."""


def up(
    form: Form, remote: Remote, *, image: Path, router: Member = ROUTER, wait: float | None = 60.0
) -> None:
    """Have it running from this image, known to the management plane. One from another image is upgraded.

    Raises MachineError, RemoteError, UnhealthyError, WentBackError.
    """
    known(remote, router)
    runtime, name = form.runtime, router.name
    if runtime.status(name).running:
        running = runtime.run(name, ["cat", "/usr/lib/sysvm/image"]).stdout.strip()
        if running != tree_of(image):
            form.progress(f"{name} runs from {running}: upgrading it")
            Deployment.of(remote, name, progress=form.progress).upgrade(image)
        return
    placement = Placement(
        host=form.host,
        cloud=form.cloud,
        image=str(image),
        interfaces=[Card(segment=segment, mac=mac) for segment, mac in router.cards.items()],
        ssh_keys=[_key(form.cloud).with_suffix(".pub").read_text().strip()] if form.virtual else [],
    )
    deployment = Deployment(remote=remote, name=name, placement=placement, progress=form.progress)
    deployment.place().start(wait=wait)
    form.progress(f"{name} powered on")


def known(remote: Remote, router: Member = ROUTER) -> None:
    """Have the management plane know it."""
    try:
        remote.ask("GET", f"/v1/appliances/{router.name}")
    except RemoteError as error:
        if error.status != _NOT_FOUND:
            raise
        control = {"mac": router.control_mac, "address": f"{router.control_address}/24"}
        body: dict[str, Any] = {"name": router.name, "role": "router", "control": control}
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
