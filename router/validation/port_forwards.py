"""Port forwards."""

from collections.abc import Iterator

from appliance.address import port_range
from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import PortForward, RouterDocument
from router.network import GuestNetwork, guest_networks, public_addresses

_MOST_SHIFTED_PORTS = 1024


def problems(document: RouterDocument) -> Iterator[Problem]:
    context = (
        frozenset(public_addresses(document)),
        frozenset(document.static_nat),
        tuple(guest_networks(document)),
    )
    for found in filter(None, _forwards(document.port_forwards, *context).values()):
        yield from found
    end, holder, before = -1, "", ("", "")
    for address, protocol, first, last, name in sorted(_spans(document.port_forwards).values()):
        if before != (address, protocol):
            end, before = -1, (address, protocol)
        if first <= end:
            yield Problem(
                pointer("port_forwards", name, "ports"),
                f"{_title(document.port_forwards[name])}: its ports overlap those of port forward {holder}",
            )
        if last > end:
            end, holder = last, name


@per_key
def _spans(name: str, forward: PortForward) -> tuple[str, str, int, int, str]:
    return forward.address, forward.protocol, *port_range(forward.ports), name


@per_key
def _forwards(
    name: str,
    forward: PortForward,
    public: frozenset[str],
    static: frozenset[str],
    networks: tuple[GuestNetwork, ...],
) -> tuple[Problem, ...]:
    return tuple(_forward(name, forward, public, static, networks))


def _forward(
    name: str,
    forward: PortForward,
    public: frozenset[str],
    static: frozenset[str],
    networks: tuple[GuestNetwork, ...],
) -> Iterator[Problem]:
    at = ("port_forwards", name)
    if forward.address not in public:
        yield Problem(
            pointer(*at, "address"),
            f"{_title(forward)}: {forward.address} is no address of a public interface",
        )
    if forward.address in static:
        yield Problem(
            pointer(*at, "address"), f"{_title(forward)}: the address has static NAT for all its ports"
        )
    if not any(network.serves(forward.target) for network in networks):
        yield Problem(
            pointer(*at, "target"), f"{_title(forward)}: target {forward.target} is on no guest network"
        )
    if forward.target_ports is not None:
        yield from _shift(forward, *port_range(forward.ports), at)


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
