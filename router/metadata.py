"""The metadata and password service: what its process reads, and the passwords it may hand out."""

import json
from collections.abc import Iterator

from appliance.checks import Check, HttpCheck, MetadataCheck
from appliance.memo import Pairs, per_key, per_sections
from appliance.resources import Address, File, Password, Records, Resource, Unit
from router import redundancy
from router.document import (
    DhcpNetwork,
    DhcpOptions,
    GuestMetadata,
    MetadataNetwork,
    Reservation,
    RouterDocument,
)
from router.network import GuestNetwork, Subnet, guest_networks

_DIRECTORY = "/run/sysvm/metadata"
_GROUP = "sysvm-metadata"
LINK_LOCAL = "169.254.169.254/32"
"""Where EC2, OpenStack and NoCloud guests ask."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


def resources(document: RouterDocument) -> Iterator[Resource]:
    yield from _resources(document)


@per_sections("interfaces", "dhcp", "dns", "metadata", "redundancy")
def _resources(document: RouterDocument) -> tuple[Resource, ...]:
    return tuple(_made(document))


def _made(document: RouterDocument) -> Iterator[Resource]:
    if not document.metadata:
        return
    settings: dict[str, dict[str, object]] = {}
    for network in guest_networks(document):
        metadata = document.metadata.get(network.link)
        if metadata is None:
            continue
        settings[network.link] = {
            "address": network.address,
            "network": network.cidr,
            "tokens": metadata.tokens,
        }
        if network.further:
            settings[network.link]["further"] = [
                {"address": subnet.address, "network": subnet.cidr} for subnet in network.further
            ]
        # On the guests' link rather than on lo, so that a guest which believes the address to be on its
        # own link is answered, too. Each network has it, so no DNS server must listen there: that of one
        # network would keep the others' from starting.
        yield Address(link=network.link, address=LINK_LOCAL, label=f"{network.link}:meta")
        dhcp, dns = document.dhcp.get(network.link), document.dns.get(network.link)
        guests = with_reservations(network.link, metadata, dhcp)
        at = addresses(guests)
        for mac, guest in metadata.guests.items():
            if guest.password is not None and (address := at[mac]) is not None:
                yield Password(
                    network=network.link, address=address, value=guest.password.get_secret_value()
                )
        records = _records(guests, network, dns.domain if dns else None, dhcp.options if dhcp else None)
        yield Records(path=f"{_DIRECTORY}/{network.link}", records=records, mode=0o640, group=_GROUP)
    value: dict[str, object] = {"networks": settings}
    if key := redundancy.fetched_key(document):
        value["fetched_key"] = key
    config = json.dumps(value, indent=2, sort_keys=True) + "\n"
    yield File(
        path=f"{_DIRECTORY}/config.json",
        content=config,
        mode=0o640,
        group=_GROUP,
        secret="fetched_key" in value,
    )
    yield Unit(name="sysvm-metadata.service")


Guest = tuple[GuestMetadata, Reservation | None]
"""A guest and the reservation with its MAC address, which has what the guest doesn't say itself."""
_guests: Pairs[str, GuestMetadata, Reservation] = Pairs()


def with_reservations(link: str, metadata: MetadataNetwork, dhcp: DhcpNetwork | None) -> dict[str, Guest]:
    return _guests.of(link, metadata.guests, dhcp.reservations if dhcp else {})


@per_key
def addresses(mac: str, guest: Guest) -> str | None:
    """A guest's address, its own or the reservation's; None where there is neither."""
    own, reservation = guest
    return own.address or (reservation.address if reservation else None)


@per_key
def _records(
    mac: str, item: Guest, network: GuestNetwork, domain: str | None, options: DhcpOptions | None
) -> str:
    guest, reservation = item
    hostname = guest.hostname or (reservation.hostname if reservation else None)
    options = options or DhcpOptions()
    address = guest.address or (reservation.address if reservation else None)
    subnet: Subnet = (network.subnet(address) if address else None) or network
    gateway = options.router if options.router and subnet.holds(options.router) else subnet.address
    record = {
        "address": address,
        "mac": mac,
        "instance_id": guest.instance_id,
        "hostname": hostname,
        "domain": domain,
        "user_data": guest.user_data,
        "vendor_data": guest.vendor_data,
        "public_keys": guest.public_keys,
        # The order of a document's keys means nothing.
        "keys": dict(sorted(guest.keys.items())),
        "gateway": gateway,
        "dns": options.dns if options.dns is not None else [subnet.address] if domain else [],
        "search": options.search or ([domain] if domain else []),
        # None: the guest asks DHCP for its address, rather than being told.
        "prefix_length": None if reservation is not None else subnet.prefix_length,
        "mtu": network.mtu,
    }
    return _encode(record)


def checks(document: RouterDocument) -> Iterator[Check]:
    if document.metadata:
        yield HttpCheck(name="metadata", socket="/run/sysvm-metadata/health.sock", path="/health")
    for network in guest_networks(document):
        if network.link in document.metadata:
            for address in network.addresses:
                at = network.link if address == network.address else f"{network.link} {address}"
                yield MetadataCheck(name=f"metadata {at}", link=network.link, address=address)
