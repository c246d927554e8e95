"""The control interface: what boot data says, and no document can take away."""

import ipaddress
from collections.abc import Iterator

from appliance.boot import CONTROL_LINK, Boot
from appliance.resources import Address, File, Link, Resource, Route, Rule, Unit

_TABLE = 100
"""Answers to the management plane leave by the control interface, whatever the default route is."""


SSH_KEYS = "/run/sysvm/ssh/authorized_keys"


def resources(boot: Boot) -> Iterator[Resource]:
    control = boot.control
    yield Link(name=CONTROL_LINK, mac=control.mac)
    yield Address(link=CONTROL_LINK, address=control.address)
    if boot.ssh_keys:
        yield File(path=SSH_KEYS, content="".join(f"{key}\n" for key in boot.ssh_keys), mode=0o600)
        yield Unit(name="sysvm-ssh.service")
    if control.gateway:
        source = ipaddress.ip_interface(control.address).ip
        anywhere = "0.0.0.0/0" if source.version == 4 else "::/0"
        yield Rule(priority=_TABLE, table=_TABLE, source=str(ipaddress.ip_network(source)))
        yield Route(destination=anywhere, gateway=control.gateway, link=CONTROL_LINK, table=_TABLE)
