"""The development cloud's router: an appliance of the management plane, as a container."""

import json
from pathlib import Path

from appliance.devcloud.layout import CONTROL_SEGMENT, GUEST_SEGMENT, PUBLIC_SEGMENT, ROUTER
from appliance.management.remote import Remote, RemoteError
from appliance.runtime.runtime import Interface, Machine, Runtime

_NOT_FOUND = 404


def up(runtime: Runtime, remote: Remote, *, cloud: str, tree: Path) -> bool:
    """Have it running from this tree, known to the management plane. Whether it had to be started: one
    from another tree is replaced, and keeps what it has in /var/lib/sysvm."""
    if runtime.status(ROUTER.name).running:
        image = runtime.run(ROUTER.name, ["cat", "/usr/lib/sysvm/image"]).stdout.strip()
        if image == tree.name:
            return False
        runtime.stop(ROUTER.name)
    runtime.start(machine(cloud, tree=tree, boot=_boot(remote)))
    return True


def machine(cloud: str, *, tree: Path, boot: bytes) -> Machine:
    return Machine(
        name=ROUTER.name,
        image=tree,
        interfaces=(
            Interface(segment=GUEST_SEGMENT, mac=ROUTER.guest_mac),
            Interface(segment=PUBLIC_SEGMENT, mac=ROUTER.public_mac),
            Interface(segment=CONTROL_SEGMENT, mac=ROUTER.control_mac),
        ),
        boot=boot,
        keeps=True,
    )


def _boot(remote: Remote) -> bytes:
    """Boot data: of a new appliance, or issued again for one that is known."""
    path = f"/v1/appliances/{ROUTER.name}"
    try:
        _, answer = remote.ask("POST", f"{path}/boot")
    except RemoteError as error:
        if error.status != _NOT_FOUND:
            raise
        control = {"mac": ROUTER.control_mac, "address": f"{ROUTER.control_address}/24"}
        body = {"name": ROUTER.name, "role": "router", "control": control}
        _, answer = remote.ask("POST", "/v1/appliances", body=body)
    boot = answer.get("boot", answer)
    return json.dumps(boot).encode()
