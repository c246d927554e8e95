"""What a model can't say about a router's document: rules across its sections, each broken one a sentence.

A check names the sections it reads, and is asked again only when one of them has changed.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping

from appliance.address import port_range
from appliance.memo import unchanged
from appliance.model import Problem, pointer
from appliance.services.interfaces import link_towards
from router import dhcp
from router.document import (
    DhcpOptions,
    DhcpRange,
    Egress,
    FirewallRule,
    PortForward,
    RouterDocument,
)
from router.metadata import place
from router.network import GUEST, PUBLIC, GuestNetwork, guest_networks, public_addresses

Check = Callable[[RouterDocument], Iterator[Problem]]
_MOST_SHIFTED_PORTS = 1024


def problems(document: RouterDocument, known_good: RouterDocument | None = None) -> list[Problem]:
    """All that is wrong. What is unchanged since `known_good`, which had no problems, isn't looked at."""
    found: list[Problem] = []
    for check, sections in _CHECKS.items():
        if known_good is None or not all(
            unchanged(getattr(document, section), getattr(known_good, section)) for section in sections
        ):
            found += check(document)
    return found


def _interfaces(document: RouterDocument) -> Iterator[Problem]:
    macs: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for link, interface in document.interfaces.items():
        at = ("interfaces", link)
        if not link.startswith((GUEST, PUBLIC)):
            yield Problem(
                pointer(*at),
                f"Interface {link}: a router has guest and public interfaces (guest0, public0, ...); "
                "the control interface comes with boot data",
            )
        if other := macs.get(interface.mac):
            yield Problem(
                pointer(*at, "mac"), f"Interface {link}: {interface.mac} is the MAC of {other}, too"
            )
        macs[interface.mac] = link
        for number, text in enumerate(interface.addresses):
            address = text.partition("/")[0]
            if other := addresses.get(address):
                yield Problem(
                    pointer(*at, "addresses", number),
                    f"Interface {link}: {address} is an address of {other}, too",
                )
            addresses[address] = link
        if interface.gateway and not _on_link(interface.gateway, interface.addresses):
            yield Problem(
                pointer(*at, "gateway"),
                f"Interface {link}: gateway {interface.gateway} is on none of its networks",
            )
    gateways = [link for link, interface in document.interfaces.items() if interface.gateway]
    for link in gateways[1:]:
        yield Problem(
            pointer("interfaces", link, "gateway"),
            f"Interface {link}: {gateways[0]} has the default gateway already",
        )
    networks = list(guest_networks(document))
    for number, network in enumerate(networks):
        if not 8 <= network.prefix_length <= 30:
            yield Problem(
                pointer("interfaces", network.link, "addresses", 0),
                f"Interface {network.link}: a guest network has a prefix length between 8 and 30",
            )
        for other_network in networks[:number]:
            if ipaddress.IPv4Network(network.cidr).overlaps(ipaddress.IPv4Network(other_network.cidr)):
                yield Problem(
                    pointer("interfaces", network.link, "addresses", 0),
                    f"Interface {network.link}: {network.cidr} overlaps {other_network.cidr} of "
                    f"{other_network.link}",
                )


def _on_link(address: str, addresses: list[str]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_interface(own).network for own in addresses)


def _routes(document: RouterDocument) -> Iterator[Problem]:
    seen: dict[tuple[str, int], str] = {}
    for name, route in document.routes.items():
        at = ("routes", name)
        if route.destination in ("0.0.0.0/0", "::/0"):
            yield Problem(
                pointer(*at, "destination"), f"Route {name}: the default route is an interface's gateway"
            )
        elif (":" in route.destination) != (":" in route.gateway):
            yield Problem(pointer(*at, "gateway"), f"Route {name}: gateway and destination differ in family")
        elif link_towards(route.gateway, document.interfaces) is None:
            yield Problem(
                pointer(*at, "gateway"),
                f"Route {name}: gateway {route.gateway} is on no interface's network",
            )
        if other := seen.get((route.destination, route.metric)):
            yield Problem(
                pointer(*at, "destination"),
                f"Route {name}: {route.destination} with metric {route.metric} is route {other}'s, too",
            )
        seen[route.destination, route.metric] = name


def _networks_of_sections(document: RouterDocument) -> Iterator[Problem]:
    links = {network.link for network in guest_networks(document)}
    sections: dict[tuple[str, ...], Mapping[str, object]] = {
        ("dhcp",): document.dhcp,
        ("dns",): document.dns,
        ("source_nat",): document.source_nat,
        ("firewall", "egress"): document.firewall.egress,
        ("metadata",): document.metadata,
    }
    for section, items in sections.items():
        for link in items:
            if link not in links:
                yield Problem(pointer(*section, link), f"{link} is no guest interface with an IPv4 address")


def _dhcp(document: RouterDocument) -> Iterator[Problem]:
    macs: dict[str, str] = {
        interface.mac: f"interface {link}" for link, interface in document.interfaces.items()
    }
    for network in guest_networks(document):
        section = document.dhcp.get(network.link)
        if section is None:
            continue
        at = ("dhcp", network.link)
        yield from _ranges(network, section.ranges)
        yield from _options(section.options, network, *at, "options")
        addresses: dict[str, str] = {}
        names: dict[str, str] = {}
        for mac, reservation in section.reservations.items():
            address, name = reservation.address, reservation.hostname
            if not network.serves(address):
                yield Problem(
                    pointer(*at, "reservations", mac, "address"),
                    f"Reservation {mac}: {address} is no address for a guest of {network.link} "
                    f"({network.cidr}, router {network.address})",
                )
            if address in addresses:
                yield Problem(
                    pointer(*at, "reservations", mac, "address"),
                    f"Reservation {mac}: {address} is reserved for {addresses[address]}, too",
                )
            addresses[address] = mac
            if name is not None:
                if name in names:
                    yield Problem(
                        pointer(*at, "reservations", mac, "hostname"),
                        f"Reservation {mac}: {names[name]} is named {name}, too",
                    )
                names[name] = mac
            if mac in macs:
                yield Problem(
                    pointer(*at, "reservations", mac),
                    f"Reservation {mac}: it is the MAC of {macs[mac]}, too",
                )
            macs[mac] = f"a reservation of {network.link}"
            if reservation.options is not None:
                yield from _options(reservation.options, network, *at, "reservations", mac, "options")


def _ranges(network: GuestNetwork, ranges: list[DhcpRange]) -> Iterator[Problem]:
    taken: list[tuple[int, int]] = []
    for number, item in enumerate(ranges):
        at = pointer("dhcp", network.link, "ranges", number)
        first, last = (int(ipaddress.IPv4Address(end)) for end in (item.first, item.last))
        if not (network.holds(item.first) and network.holds(item.last)):
            yield Problem(at, f"Range {item.first}-{item.last} is not within {network.cidr}")
        if first > last:
            yield Problem(at, f"Range {item.first}-{item.last} ends before it starts")
        if any(first <= end and begin <= last for begin, end in taken):
            yield Problem(at, f"Range {item.first}-{item.last} overlaps another")
        taken.append((first, last))


def _options(options: DhcpOptions, network: GuestNetwork, *at: str) -> Iterator[Problem]:
    for code in options.extra:
        if int(code) in dhcp.OWN_CODES:
            yield Problem(
                pointer(*at, "extra", code),
                f"DHCP option {code} has a field of its own, or is the protocol's own",
            )
    if options.router and not network.holds(options.router):
        yield Problem(pointer(*at, "router"), f"DHCP router {options.router} is not within {network.cidr}")
    for number, route in enumerate(options.routes or ()):
        if not network.holds(route.gateway):
            yield Problem(
                pointer(*at, "routes", number, "gateway"),
                f"Classless route {route.destination}: gateway {route.gateway} is not within {network.cidr}",
            )


def _dns(document: RouterDocument) -> Iterator[Problem]:
    own = {address.partition("/")[0] for item in document.interfaces.values() for address in item.addresses}
    for link, section in document.dns.items():
        at = ("dns", link)
        for number, other in enumerate(section.networks):
            if other not in document.dns or other == link:
                yield Problem(
                    pointer(*at, "networks", number), f"{other} is no other network with a DNS domain"
                )
            elif document.dns[other].domain == section.domain:
                yield Problem(
                    pointer(*at, "networks", number),
                    f"{other} has the same domain {section.domain}, so its names can't be told apart",
                )
        for number, upstream in enumerate(section.upstreams):
            if upstream.address in own:
                yield Problem(
                    pointer(*at, "upstreams", number, "address"),
                    f"Upstream {upstream.address} is this router itself",
                )
        names = section.records.keys() | section.mail.keys() | section.texts.keys()
        for alias in section.aliases:
            if alias in names:
                yield Problem(
                    pointer(*at, "aliases", alias), f"Alias {alias} has other records, too (RFC 1034, 3.6.2)"
                )


def _nat(document: RouterDocument) -> Iterator[Problem]:
    public = set(public_addresses(document))
    networks = list(guest_networks(document))
    used_by_source_nat = {nat.address for nat in document.source_nat.values()}
    for link, nat in document.source_nat.items():
        if nat.address not in public:
            yield Problem(
                pointer("source_nat", link, "address"),
                f"Source NAT of {link}: {nat.address} is no address of a public interface",
            )
    targets: dict[str, str] = {}
    for address, static in document.static_nat.items():
        at = ("static_nat", address)
        if address not in public:
            yield Problem(pointer(*at), f"Static NAT {address}: it is no address of a public interface")
        if address in used_by_source_nat:
            yield Problem(pointer(*at), f"Static NAT {address}: the address is used for source NAT, too")
        if not any(network.serves(static.target) for network in networks):
            yield Problem(
                pointer(*at, "target"),
                f"Static NAT {address}: target {static.target} is on no guest network",
            )
        if other := targets.get(static.target):
            yield Problem(
                pointer(*at, "target"), f"Static NAT {address}: {static.target} has {other} already"
            )
        targets[static.target] = address


def _port_forwards(document: RouterDocument) -> Iterator[Problem]:
    public = set(public_addresses(document))
    networks = list(guest_networks(document))
    served: dict[str, bool] = {}
    spans: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for name, forward in document.port_forwards.items():
        at = ("port_forwards", name)
        if forward.address not in public:
            yield Problem(
                pointer(*at, "address"),
                f"{_title(forward)}: {forward.address} is no address of a public interface",
            )
        if forward.address in document.static_nat:
            yield Problem(
                pointer(*at, "address"), f"{_title(forward)}: the address has static NAT for all its ports"
            )
        if forward.target not in served:
            served[forward.target] = any(network.serves(forward.target) for network in networks)
        if not served[forward.target]:
            yield Problem(
                pointer(*at, "target"), f"{_title(forward)}: target {forward.target} is on no guest network"
            )
        first, last = port_range(forward.ports)
        if forward.target_ports is not None:
            yield from _shift(forward, first, last, at)
        spans.setdefault((forward.address, forward.protocol), []).append((first, last, name))
    for items in spans.values():
        items.sort()
        end, holder = -1, ""
        for first, last, name in items:
            if first <= end:
                forward = document.port_forwards[name]
                yield Problem(
                    pointer("port_forwards", name, "ports"),
                    f"{_title(forward)}: its ports overlap those of port forward {holder}",
                )
            if last > end:
                end, holder = last, name


def _shift(forward: PortForward, first: int, last: int, at: tuple[str, ...]) -> Iterator[Problem]:
    target_first, target_last = port_range(forward.target_ports or forward.ports)
    if target_last - target_first != last - first:
        yield Problem(
            pointer(*at, "target_ports"),
            f"{_title(forward)}: {forward.target_ports} is not as many ports as {forward.ports}",
        )
    elif target_first != first and last - first >= _MOST_SHIFTED_PORTS:
        yield Problem(
            pointer(*at, "target_ports"),
            f"{_title(forward)}: at most {_MOST_SHIFTED_PORTS} ports can be led to others by one forward",
        )


def _title(forward: PortForward) -> str:
    return f"Port forward {forward.address}:{forward.ports}/{forward.protocol}"


def _firewall(document: RouterDocument) -> Iterator[Problem]:
    public = set(public_addresses(document))
    for name, rule in document.firewall.ingress.rules.items():
        at = ("firewall", "ingress", "rules", name)
        if rule.address not in public:
            yield Problem(
                pointer(*at, "address"),
                f"Firewall rule {name}: {rule.address} is no address of a public interface",
            )
        if rule.ports is not None or rule.icmp_type is not None:
            yield from _match(name, rule, *at)
    networks = {network.link: network for network in guest_networks(document)}
    for link, egress in document.firewall.egress.items():
        if link in networks:
            yield from _egress(egress, networks[link])


def _egress(egress: Egress, network: GuestNetwork) -> Iterator[Problem]:
    whole = ipaddress.IPv4Network(network.cidr)
    for name, rule in egress.rules.items():
        at = ("firewall", "egress", network.link, "rules", name)
        yield from _match(name, rule, *at)
        for number, cidr in enumerate(rule.source_cidrs):
            if not ipaddress.IPv4Network(cidr).subnet_of(whole):
                yield Problem(
                    pointer(*at, "source_cidrs", number),
                    f"Firewall rule {name}: source {cidr} is not within {network.cidr} of {network.link}",
                )


def _match(name: str, rule: FirewallRule, *at: str) -> Iterator[Problem]:
    if rule.ports is not None and rule.protocol not in ("tcp", "udp"):
        yield Problem(pointer(*at, "ports"), f"Firewall rule {name}: only tcp and udp have ports")
    if rule.icmp_type is not None and rule.protocol != "icmp":
        yield Problem(pointer(*at, "icmp_type"), f"Firewall rule {name}: only icmp has types")


def _metadata(document: RouterDocument) -> Iterator[Problem]:
    for network in guest_networks(document):
        section = document.metadata.get(network.link)
        if section is None:
            continue
        dhcp_network = document.dhcp.get(network.link)
        addresses: dict[str, str] = {}
        for mac, guest in section.guests.items():
            at = ("metadata", network.link, "guests", mac)
            try:
                address, _ = place(guest, mac, dhcp_network)
            except LookupError:
                yield Problem(
                    pointer(*at, "address"),
                    f"Metadata of {mac}: it has neither an address of its own nor a reservation",
                )
                continue
            if not network.serves(address):
                yield Problem(
                    pointer(*at, "address"),
                    f"Metadata of {mac}: {address} is no address for a guest of {network.link}",
                )
            if other := addresses.get(address):
                yield Problem(pointer(*at, "address"), f"Metadata of {mac}: {address} is {other}'s, too")
            addresses[address] = mac


_CHECKS: Mapping[Check, tuple[str, ...]] = {
    _interfaces: ("interfaces",),
    _routes: ("interfaces", "routes"),
    _networks_of_sections: ("interfaces", "dhcp", "dns", "source_nat", "firewall", "metadata"),
    _dhcp: ("interfaces", "dhcp"),
    _dns: ("interfaces", "dns"),
    _nat: ("interfaces", "source_nat", "static_nat"),
    _port_forwards: ("interfaces", "static_nat", "port_forwards"),
    _firewall: ("interfaces", "firewall"),
    _metadata: ("interfaces", "dhcp", "metadata"),
}
