"""Boot data: what an appliance must know before anyone has pushed it a document.

It arrives as the systemd credential `sysvm.boot` (systemd.exec(5), LoadCredential=), which a container
manager, QEMU's SMBIOS or fw_cfg and the kernel command line can all carry.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from appliance.address import InterfaceAddress, IpAddress, MacAddress
from appliance.model import Model, Problem, RefusedError, Secret, strict_json, validated

CREDENTIAL = "sysvm.boot"
CONTROL_LINK = "control0"
API_PORT = 8443


SshKey = Annotated[str, Field(pattern=r"^(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( [ -~]*)?$")]
"""A line of authorized_keys (sshd(8)) without options."""


class ControlInterface(Model):
    """The interface of the management plane; only here does the agent's API listen."""

    mac: MacAddress
    address: InterfaceAddress
    gateway: IpAddress | None = None


class Tls(Model):
    """PEM texts: the management plane's CA, and the appliance's own certificate and key."""

    ca: str
    certificate: str
    key: Secret


class Boot(Model):
    role: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    control: ControlInterface
    tls: Tls
    ssh_keys: list[SshKey] = []
    """Who may log in as root through the control interface; without any, nothing listens for that."""


def read() -> Boot:
    """The boot data of this machine. Raises FileNotFoundError where no credential was passed, and
    RefusedError, which shows none of it, where that isn't boot data."""
    directory = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/@system"))
    content = (directory / CREDENTIAL).read_bytes()
    try:
        value = strict_json(content)
    except (ValueError, RecursionError):
        raise RefusedError([Problem("", "This is not JSON")]) from None
    return validated(Boot, value)
