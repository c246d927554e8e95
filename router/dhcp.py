"""Reservations and options in dnsmasq's words.

Options that differ from the network's belong to a tag named for what they are, so guests that are alike
share one, and a guest has one tag at most: nothing depends on the order in which options are looked up.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from appliance.memo import per_key
from router.document import DhcpNetwork, DhcpOptions, DnsNetwork, Reservation
from router.network import GuestNetwork, Subnet

Options = dict[int, str]
"""Option number (RFC 2132 and later) -> value as dnsmasq takes it; empty: don't send it."""

ROUTER, DNS, DOMAIN, MTU, NTP, SEARCH, CLASSLESS_ROUTES = 3, 6, 15, 26, 42, 119, 121
_PROTOCOL_CODES = {1, 12, 28, 50, 51, 53, 54, 55, 58, 59, 61, 82}
OWN_CODES = _PROTOCOL_CODES | {ROUTER, DNS, DOMAIN, MTU, NTP, SEARCH, CLASSLESS_ROUTES}
"""Options that have a field of their own or are the protocol's; `extra` may not set them."""


def hosts(dhcp: DhcpNetwork, network: GuestNetwork, dns: DnsNetwork | None) -> dict[str, str]:
    """dhcp-host lines by MAC address."""
    return _hosts(dhcp.reservations, dhcp.options, network, dns.domain if dns else None, dhcp.lease_seconds)


@per_key
def _hosts(
    mac: str,
    reservation: Reservation,
    options: DhcpOptions,
    network: GuestNetwork,
    domain: str | None,
    lease_seconds: int,
) -> str:
    fields = [mac]
    if tag := _tag(_overrides(reservation, options, network, domain)):
        fields.append(f"set:{tag}")
    fields.append(reservation.address)
    if reservation.hostname:
        # With a dot behind it, it can't be taken for a lease time ("5d") or a keyword ("ignore").
        fields.append(f"{reservation.hostname}.")
    fields.append(str(reservation.lease_seconds or lease_seconds))
    return ",".join(fields)


class Range(NamedTuple):
    first: str
    last: str
    netmask: str
    tag: str
    """Of who gets an address of it; empty for the first subnet's, who are told what the network is."""


def ranges(dhcp: DhcpNetwork, network: GuestNetwork) -> Iterator[Range]:
    tags = {subnet.cidr: f"s{number}" for number, subnet in enumerate(network.further, 1)}
    for item in dhcp.ranges:
        subnet = network.subnet(item.first) or network
        yield Range(item.first, item.last, subnet.netmask, tags.get(subnet.cidr, ""))


def options(dhcp: DhcpNetwork, network: GuestNetwork, dns: DnsNetwork | None) -> dict[str, str]:
    """dhcp-option lines: the network's, then those of each tag."""
    domain = dns.domain if dns else None
    usual = _effective(dhcp.options, network, network.mtu, domain)
    lines = {str(code): _line(code, value) for code, value in usual.items()}
    for made in ranges(dhcp, network):
        if made.tag and (subnet := network.subnet(made.first)) is not None:
            wanted = _effective(dhcp.options, subnet, network.mtu, domain)
            # Guests with a reservation have it from their own tag, which their options are in, too.
            lines |= {
                f"{made.tag} {code}": f"tag:{made.tag},tag:!known,{_line(code, value)}"
                for code, value in _differing(wanted, usual).items()
            }
    for own in filter(None, _own_options(dhcp.reservations, dhcp.options, network, domain).values()):
        lines |= own
    return lines


@per_key
def _own_options(
    mac: str, reservation: Reservation, options: DhcpOptions, network: GuestNetwork, domain: str | None
) -> dict[str, str]:
    overrides = _overrides(reservation, options, network, domain)
    tag = _tag(overrides)
    return {f"{tag} {code}": f"tag:{tag},{_line(code, value)}" for code, value in overrides.items()}


def _line(code: int, value: str) -> str:
    return f"{code},{value}" if value else str(code)


def _overrides(
    reservation: Reservation, options: DhcpOptions, network: GuestNetwork, domain: str | None
) -> Options:
    """What this guest's options differ in from its network's."""
    subnet = network.subnet(reservation.address) or network
    first = subnet.address == network.address
    if reservation.options is None and reservation.default_gateway and first:
        return {}
    usual = _effective(options, network, network.mtu, domain)
    merged = options
    if reservation.options is not None:
        own = reservation.options
        chosen = {name: getattr(own, name) for name in own.model_fields_set if name != "extra"}
        merged = options.model_copy(update={**chosen, "extra": {**options.extra, **own.extra}})
    wanted = _effective(merged, subnet, network.mtu, domain, gateway=reservation.default_gateway)
    if not reservation.default_gateway:
        own_set = reservation.options.model_fields_set if reservation.options else set()
        for code, name in ((ROUTER, "router"), (DNS, "dns"), (DOMAIN, "domain"), (SEARCH, "search")):
            if name not in own_set:
                wanted.pop(code, None)
    return _differing(wanted, usual)


def _differing(wanted: Options, usual: Options) -> Options:
    """What is to be sent otherwise than usual, or not at all."""
    differing = {code: value for code, value in wanted.items() if usual.get(code) != value}
    return differing | {code: "" for code in usual if code not in wanted}


def _tag(overrides: Options) -> str:
    if not overrides:
        return ""
    return "o" + hashlib.sha256(repr(sorted(overrides.items())).encode()).hexdigest()[:16]


def _effective(
    options: DhcpOptions, subnet: Subnet, mtu: int, domain: str | None, *, gateway: bool = True
) -> Options:
    # A router of one subnet is none of the others'.
    router = options.router if options.router and subnet.holds(options.router) else subnet.address
    found: Options = {ROUTER: router, MTU: str(options.mtu or mtu)}
    servers = options.dns if options.dns is not None else [subnet.address] if domain else []
    found[DNS] = ",".join(servers)
    if name := options.domain or domain:
        found[DOMAIN] = name
    if options.search:
        found[SEARCH] = ",".join(options.search)
    if options.ntp:
        found[NTP] = ",".join(options.ntp)
    if routes := [
        (route.destination, route.gateway) for route in options.routes or () if subnet.holds(route.gateway)
    ]:
        if gateway and not any(destination == "0.0.0.0/0" for destination, _ in routes):
            routes.append(("0.0.0.0/0", router))
        found[CLASSLESS_ROUTES] = ",".join(f"{destination},{via}" for destination, via in routes)
    found |= {int(code): text for code, text in options.extra.items()}
    return found
