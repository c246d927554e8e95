"""Reservations, ranges and options."""

import ipaddress
from collections.abc import Iterator

from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.dhcp import OWN_CODES
from router.document import DhcpOptions, DhcpRange, Reservation, RouterDocument
from router.network import GuestNetwork, guest_networks
from router.validation.repeated import repeated


def problems(document: RouterDocument) -> Iterator[Problem]:
    macs = {interface.mac: f"interface {link}" for link, interface in document.interfaces.items()}
    for network in guest_networks(document):
        section = document.dhcp.get(network.link)
        if section is None:
            continue
        at = ("dhcp", network.link)
        yield from _ranges(network, section.ranges)
        yield from _options(section.options, network, *at, "options")
        reservations = section.reservations
        for found in filter(None, _reservations(reservations, network).values()):
            yield from found
        for mac, other, address in repeated({mac: item.address for mac, item in reservations.items()}):
            yield Problem(
                pointer(*at, "reservations", mac, "address"),
                f"Reservation {mac}: {address} is reserved for {other}, too",
            )
        names = {mac: item.hostname for mac, item in reservations.items() if item.hostname is not None}
        for mac, other, name in repeated(names):
            yield Problem(
                pointer(*at, "reservations", mac, "hostname"),
                f"Reservation {mac}: {other} is named {name}, too",
            )
        for mac in sorted(macs.keys() & reservations.keys()):
            yield Problem(
                pointer(*at, "reservations", mac),
                f"Reservation {mac}: it is the MAC of {macs[mac]}, too",
            )
        macs |= dict.fromkeys(reservations, f"a reservation of {network.link}")


@per_key
def _reservations(mac: str, reservation: Reservation, network: GuestNetwork) -> tuple[Problem, ...]:
    return tuple(_reservation(mac, reservation, network))


def _reservation(mac: str, reservation: Reservation, network: GuestNetwork) -> Iterator[Problem]:
    at = ("dhcp", network.link, "reservations", mac)
    if not network.serves(reservation.address):
        yield Problem(
            pointer(*at, "address"),
            f"Reservation {mac}: {reservation.address} is no address for a guest of {network.link} "
            f"({', '.join(f'{subnet.cidr}, router {subnet.address}' for subnet in network.subnets)})",
        )
    if reservation.options is not None:
        yield from _options(reservation.options, network, *at, "options")


def _ranges(network: GuestNetwork, ranges: list[DhcpRange]) -> Iterator[Problem]:
    taken: list[tuple[int, int]] = []
    for number, item in enumerate(ranges):
        at = pointer("dhcp", network.link, "ranges", number)
        first, last = (int(ipaddress.IPv4Address(end)) for end in (item.first, item.last))
        subnet = network.subnet(item.first)
        if subnet is None or not subnet.holds(item.last):
            within = " or ".join(network.cidrs)
            yield Problem(at, f"Range {item.first}-{item.last} is not within {within}")
        if first > last:
            yield Problem(at, f"Range {item.first}-{item.last} ends before it starts")
        if any(first <= end and begin <= last for begin, end in taken):
            yield Problem(at, f"Range {item.first}-{item.last} overlaps another")
        taken.append((first, last))


def _options(options: DhcpOptions, network: GuestNetwork, *at: str) -> Iterator[Problem]:
    for code in options.extra:
        if int(code) in OWN_CODES:
            yield Problem(
                pointer(*at, "extra", code),
                f"DHCP option {code} has a field of its own, or is the protocol's own",
            )
    within = " or ".join(network.cidrs)
    if options.router and not network.holds(options.router):
        yield Problem(pointer(*at, "router"), f"DHCP router {options.router} is not within {within}")
    for number, route in enumerate(options.routes or ()):
        if not network.holds(route.gateway):
            yield Problem(
                pointer(*at, "routes", number, "gateway"),
                f"Classless route {route.destination}: gateway {route.gateway} is not within {within}",
            )
