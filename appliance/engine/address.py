"""Observe and change addresses. Ours carry our protocol number (IFA_PROTO, Linux 5.18)."""

import ipaddress
import socket
from collections.abc import Iterator, Sequence

from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.resources import Address

KIND = "Address"
Key = tuple[int, str]
"""A link's index, and an address."""
PROTOCOL = 83
"""Of our addresses, routes and rules; numbers from 5 (addresses) and 17 (routes) on are free to use."""


def plan(wanted: Sequence[Address], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    # A card keeps its addresses when it is renamed, so they are looked at by the names to come.
    names = host.expected_names
    observed = host.network(KIND, lambda: _observe(host))
    # Those of a tunnel that goes will go with it.
    ours, others = ({(names[index], text) for index, text in found if index in names} for found in observed)
    keys = {(address.link, address.address) for address in wanted}
    for address in wanted:
        key = (address.link, address.address)
        if key not in ours and key not in others and address.link in host.expected_links:
            yield Change(
                kind=KIND,
                name=f"{address.address} on {address.link}",
                action="create",
                run=lambda address=address: _change("add", address, host),  # type: ignore[misc]
            )
    for link, text in sorted(ours - keys):
        gone = Address(link=link, address=text)
        yield Change(
            kind=KIND,
            name=f"{text} on {link}",
            action="delete",
            run=lambda gone=gone: _change("del", gone, host),  # type: ignore[misc]
        )


def _observe(host: Host) -> tuple[set[Key], set[Key]]:
    """Our addresses, and those of others."""
    ours: set[Key] = set()
    others: set[Key] = set()
    for message in host.ip.get_addr():
        text = f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
        key = (message["index"], text)
        (ours if message.get_attr("IFA_PROTO") == PROTOCOL else others).add(key)
    return ours, others


def _change(verb: str, address: Address, host: Host) -> None:
    interface = ipaddress.ip_interface(address.address)
    options: dict[str, int | str] = {} if verb == "del" else {"IFA_PROTO": PROTOCOL}
    if verb == "add" and interface.version == 4 and interface.network.prefixlen < 31:
        options["IFA_BROADCAST"] = str(interface.network.broadcast_address)
    if verb == "add" and address.label:
        options["IFA_LABEL"] = address.label
    host.ip.addr(
        verb,
        index=host.link_index(address.link),
        family=socket.AF_INET if interface.version == 4 else socket.AF_INET6,
        address=str(interface.ip),
        prefixlen=interface.network.prefixlen,
        **options,
    )
    if verb == "add" and interface.version == 4:
        # Tell neighbours of the address at once: they may have another card's MAC address for it.
        announce(host, address.link, str(interface.ip))


def announce(host: Host, link: str, address: str) -> None:
    """One gratuitous ARP request (RFC 5944, section 4.6) for an address on a link that is up."""
    text = next(seen["mac"] for seen in host.links().values() if seen["name"] == link)
    mac = bytes.fromhex((text or "").replace(":", ""))
    # A tunnel has no neighbours.
    if len(mac) != 6 or link == "lo":
        return
    ip = ipaddress.ip_address(address).packed
    frame = b"\xff" * 6 + mac + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" + mac + ip + b"\x00" * 6 + ip
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((link, 0))
        raw.send(frame)
