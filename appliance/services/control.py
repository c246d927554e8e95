"""The control interface: what boot data says, and no document can take away."""

import ipaddress
from collections.abc import Iterator

from appliance.boot import CONTROL_LINK, Boot
from appliance.document import Document
from appliance.model import Problem, pointer
from appliance.resources import Address, File, Link, Resource, Rule, Unit
from appliance.route import Route

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


def problems(document: Document, boot: Boot) -> Iterator[Problem]:
    """What of a document would take the control interface, or the way to its network, away."""
    network = ipaddress.ip_interface(boot.control.address).network
    for link, interface in document.interfaces.items():
        if interface.mac == boot.control.mac:
            yield Problem(
                pointer("interfaces", link, "mac"),
                f"Interface {link}: {interface.mac} is the control interface's, which comes with boot data",
            )
        for number, address in enumerate(interface.addresses):
            own = ipaddress.ip_interface(address).network
            if own.version == network.version and own.overlaps(network):
                yield Problem(
                    pointer("interfaces", link, "addresses", number),
                    f"Interface {link}: {own} overlaps {network}, the control network",
                )
    for place, further in document.further_networks():
        other = ipaddress.ip_network(further)
        if other.version == network.version and other.overlaps(network):
            yield Problem(place, f"{other} overlaps {network}, the control network")
    for name, route in document.routes.items():
        destination = ipaddress.ip_network(route.destination)
        # A wider route doesn't matter: the control network's own is the more specific one.
        if destination.version == network.version and destination.subnet_of(network):  # type: ignore[arg-type]
            yield Problem(
                pointer("routes", name, "destination"),
                f"Route {name}: {destination} is within {network}, the control network",
            )
