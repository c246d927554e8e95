"""Port forwards as elements of nft maps: one lookup for any number of them."""

import ipaddress
from collections.abc import Iterator

from appliance.address import port_range
from appliance.memo import per_key, per_sections
from router.document import PortForward, RouterDocument
from router.elements import PROTOCOLS, Elements, span_text

Element = tuple[str, str, str]
"""Set, key, value."""


@per_sections("port_forwards")
def elements(document: RouterDocument) -> Elements:
    """`forward_port` leads from one public port to an address and a port, `forward_range` from a range to an
    address with the ports kept; the `_from` maps are the same for chosen sources."""
    found: Elements = {
        "forward_port": {},
        "forward_range": {},
        "forward_port_from": {},
        "forward_range_from": {},
    }
    for made in pieces(document.port_forwards).values():
        for name, key, value in made:
            found[name][key] = value
    return found


@per_key
def pieces(name: str, forward: PortForward) -> tuple[Element, ...]:
    """The elements that each forward is made of."""
    return tuple(_sourced(forward))


def _sourced(forward: PortForward) -> Iterator[Element]:
    if not forward.source_cidrs:
        yield from _translations(forward)
        return
    sources = ipaddress.collapse_addresses(map(ipaddress.IPv4Network, forward.source_cidrs))
    for source in sources:
        first, last = int(source.network_address), int(source.broadcast_address)
        for name, key, value in _translations(forward):
            port, rest = key.split(" . ", 1)
            yield f"{name}_from", f"{port} . {span_text(first, last)} . {rest}", value


def _translations(forward: PortForward) -> Iterator[Element]:
    """nft keeps the port or sets one, but can't shift a range: a shifted range is one element a port."""
    protocol = PROTOCOLS[forward.protocol]
    first, last = port_range(forward.ports)
    target = port_range(forward.target_ports or forward.ports)[0]
    if first == last or target != first:
        for port in range(first, last + 1):
            key = f"{port} . {forward.address} . {protocol}"
            yield "forward_port", key, f"{forward.target} . {target + port - first}"
    else:
        yield "forward_range", f"{first}-{last} . {forward.address} . {protocol}", forward.target
