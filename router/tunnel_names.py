"""Names by TCP for users of tunnels.

dnsmasq ends a connection that came by another link than those it serves. So what comes by a tunnel is led to
another port of the same address, where a proxy of systemd's takes it up and asks dnsmasq from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.resources import Resource, Unit
from router.document import RouterDocument
from router.network import guest_networks

PORT = 1053


def resources(document: RouterDocument) -> Iterator[Resource]:
    if (found := servers(document)) is not None:
        for address in found.addresses4:
            yield Unit(name=f"sysvm-names@{address}.socket")
        for address in found.addresses6:
            yield Unit(name=f"sysvm-names6@{address}.socket")


@dataclass(frozen=True, slots=True)
class Servers:
    """The addresses where names are told."""

    addresses4: tuple[str, ...]
    addresses6: tuple[str, ...]
    port: int = PORT


def servers(document: RouterDocument) -> Servers | None:
    """None where nobody comes by a tunnel, or there are no names."""
    if not (document.wireguard or document.ipsec or document.remote_access):
        return None
    named = [network for network in guest_networks(document) if network.link in document.dns]
    if not named:
        return None
    return Servers(
        addresses4=tuple(address for network in named for address in network.addresses),
        addresses6=tuple(address for network in named for address in network.addresses6),
    )
