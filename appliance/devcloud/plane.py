"""The management plane of the development cloud: `sysvm serve` in a namespace of its own, asked over a unix
socket. Nothing else pushes to the router."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from appliance.devcloud import end
from appliance.devcloud.layout import CONTROL_SEGMENT, MANAGEMENT, MANAGEMENT_ADDRESS, MANAGEMENT_MAC
from appliance.management import state
from appliance.management.remote import Remote, RemoteError
from appliance.runtime.daemon import Daemon
from appliance.runtime.naming import run_directory, state_directory
from appliance.runtime.runtime import Interface, MachineError

_START_SECONDS = 30.0
_PUSH_SECONDS = 60.0
_POLL_SECONDS = "5"


def daemon(cloud: str) -> Daemon:
    # fmt: off
    return Daemon(
        cloud=cloud, name="management", namespace=MANAGEMENT,
        argv=(
            sys.executable, "-m", "appliance.cli", "serve",
            "--state", str(directory(cloud)),
            "--listen", f"unix:{_socket(cloud)}",
            "--poll", _POLL_SECONDS,
        ),
    )
    # fmt: on


def directory(cloud: str) -> Path:
    return state_directory(cloud, "management")


def network_up(cloud: str) -> None:
    """Have its namespace, on the control network."""
    card = Interface(segment=CONTROL_SEGMENT, mac=MANAGEMENT_MAC)
    addresses = [f"{MANAGEMENT_ADDRESS}/24"]
    end.up(cloud, MANAGEMENT, interface=card, link="control0", addresses=addresses)


def up(cloud: str) -> Remote:
    """Have it up, and a client of it. Raises MachineError with the end of its log where it doesn't start."""
    process = daemon(cloud)
    process.start()
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            remote = client(cloud)
            remote.ask("GET", "/v1/appliances")
            return remote
        except (OSError, RemoteError) as error:
            if time.monotonic() > deadline or not process.running():
                log = process.log.read_text() if process.log.exists() else ""
                log = "\n".join(log.splitlines()[-8:])
                raise MachineError(f"The management plane doesn't start: {error}\n{log}") from error
        time.sleep(0.02)


def client(cloud: str) -> Remote:
    """Raises OSError where none ever ran."""
    token = (directory(cloud) / state.TOKEN).read_text().strip()
    return Remote(address=f"unix:{_socket(cloud)}", token=token)


def environment(cloud: str) -> dict[str, str]:
    """What a shell needs for `sysvm appliance`, `plan` and `apply` to find this management plane."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "SYSVM_STATE": str(directory(cloud)),
        "SYSVM_API": f"unix:{_socket(cloud)}",
    }


def push(remote: Remote, document: dict[str, Any]) -> int:
    """Want a document and wait until its appliance runs it; the generation it got. Raises RemoteError."""
    name = document["name"]
    status, answer = remote.ask("PUT", f"/v1/appliances/{name}/document", body=document, wait=_PUSH_SECONDS)
    if status != 200:
        raise RemoteError(
            f"{name} doesn't run its document after {_PUSH_SECONDS:g} s: "
            f"{answer.get('detail') or answer.get('last_error')}"
        )
    return int(answer["generation"])


def _socket(cloud: str) -> Path:
    return run_directory(cloud) / "management.sock"
