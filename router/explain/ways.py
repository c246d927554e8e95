"""Which line of the document a route comes from: a static route, a gateway, a network, or a tunnel's."""

import ipaddress
import re
from collections.abc import Iterator

from appliance.agent.explanation import Stage
from appliance.model import pointer
from router.document import RouterDocument
from router.ways_out import ways_out

_ROUTE = re.compile(r"(?P<destination>\S+)(?: via (?P<gateway>\S+))? dev (?P<link>\S+)")


def origins(document: RouterDocument, stage: Stage) -> Iterator[str]:
    found = _ROUTE.match(stage.rule)
    if found is None:
        return
    anywhere = "::/0" if stage.packet.version == 6 else "0.0.0.0/0"
    destination, gateway, link = found.group("destination", "gateway", "link")
    network = ipaddress.ip_network(anywhere if destination == "default" else destination)
    for name, route in document.routes.items():
        if ipaddress.ip_network(route.destination) == network and gateway in route.gateways:
            yield pointer("routes", name)
    interface = document.interfaces.get(link)
    if interface is not None:
        if network.prefixlen == 0 and gateway in interface.gateways:
            yield pointer("interfaces", link, "gateway6" if network.version == 6 else "gateway")
            yield from _chosen(document, stage, link)
        for number, address in enumerate(interface.addresses):
            if ipaddress.ip_interface(address).network == network:
                yield pointer("interfaces", link, "addresses", number)
    yield from _tunnels(document, link, network)


def _chosen(document: RouterDocument, stage: Stage, link: str) -> Iterator[str]:
    """Of several ways out the one that has the address which the guest goes out with."""
    if not ways_out(document) or stage.packet.version == 6:
        return
    own = {address.partition("/")[0] for address in document.interfaces[link].addresses}
    for address, nat in document.static_nat.items():
        if nat.target == stage.packet.source and address in own:
            yield pointer("static_nat", address)
            return
    nat_of = document.source_nat.get(stage.link_in)
    if nat_of is not None and nat_of.address in own:
        yield pointer("source_nat", stage.link_in)


def _tunnels(
    document: RouterDocument, link: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> Iterator[str]:
    section = document.wireguard.get(link)
    if section is not None:
        for name, peer in section.peers.items():
            for number, text in enumerate(peer.allowed_ips):
                if ipaddress.ip_network(text) == network:
                    yield pointer("wireguard", link, "peers", name, "allowed_ips", number)
        for number, text in enumerate(section.addresses):
            if ipaddress.ip_interface(text).network == network:
                yield pointer("wireguard", link, "addresses", number)
    for name, tunnel in document.ipsec.items():
        for number, text in enumerate(tunnel.remote_subnets):
            if ipaddress.ip_network(text) == network and link == (tunnel.link or "ipsec0"):
                yield pointer("ipsec", name, "remote_subnets", number)
    access = document.remote_access
    if access is not None and link == "ipsec0":
        for number, text in enumerate(access.pool):
            if ipaddress.ip_network(text) == network:
                yield pointer("remote_access", "pool", number)
