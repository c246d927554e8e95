"""Names in dnsmasq's words: hosts lines of guests and static records, and where other names are asked."""

import ipaddress
from collections.abc import Iterator

from appliance.memo import per_key
from router.document import Reservation, RouterDocument
from router.network import GuestNetwork, guest_networks

METADATA_SERVER = "data-server"
"""The name by which CloudStack's guests look for their user-data and passwords."""


def qualified(name: str, domain: str) -> str:
    """A name without a dot is in the network's domain."""
    return name if "." in name else f"{name}.{domain}"


def hosts(document: RouterDocument, network: GuestNetwork) -> dict[str, str]:
    """hosts(5) lines by what they are for. Reverse names come from the same lines."""
    dns = document.dns[network.link]
    domain = dns.domain
    lines = {}
    for number, address in enumerate(network.addresses):
        # Guests are told the one on their own subnet (dnsmasq(8), localise-queries).
        more = f" {number}" if number else ""
        lines[f"router{more}"] = f"{address} {document.name}.{domain} {document.name}"
        lines[f"{METADATA_SERVER}{more}"] = f"{address} {METADATA_SERVER}.{domain} {METADATA_SERVER}"
    dhcp = document.dhcp.get(network.link)
    if dhcp is not None:
        named = _lines(dhcp.reservations, domain)
        lines |= {mac: line for mac, line in named.items() if line}
    for name, addresses in dns.records.items():
        full = qualified(name, domain)
        short = f" {name}" if full != name else ""
        for address in addresses:
            lines[f"{name} {address}"] = f"{address} {full}{short}"
    return lines


@per_key
def _lines(mac: str, reservation: Reservation, domain: str) -> str:
    """Empty for a guest without a name."""
    if reservation.hostname is None:
        return ""
    return f"{reservation.address} {reservation.hostname}.{domain} {reservation.hostname}"


def servers(document: RouterDocument, network: GuestNetwork) -> str:
    """The servers-file: upstreams for the world, and the other networks that this one may know."""
    return "".join(f"{line}\n" for line in _servers(document, network))


def _servers(document: RouterDocument, network: GuestNetwork) -> Iterator[str]:
    dns = document.dns[network.link]
    for upstream in dns.upstreams:
        yield f"server={upstream.address}#{upstream.port}"
    for other in guest_networks(document):
        if other.link in dns.networks:
            yield f"server=/{document.dns[other.link].domain}/{other.address}"
            for zone in reverse_zones(other):
                yield f"server=/{zone}/{other.address}"


def reverse_zones(network: GuestNetwork) -> list[str]:
    """The in-addr.arpa zones (RFC 1035, section 3.5) that cover a network, octet by octet, and nothing else:
    the other half of a /24 may be another network's."""
    found = []
    for cidr in map(ipaddress.IPv4Network, network.cidrs):
        octets = -(-cidr.prefixlen // 8)
        for block in cidr.subnets(new_prefix=octets * 8):
            found.append(
                ".".join(reversed(str(block.network_address).split(".")[:octets])) + ".in-addr.arpa"
            )
    return list(dict.fromkeys(found))
