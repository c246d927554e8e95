"""Port forwards."""

from collections.abc import Iterator

from appliance.address import port_range
from appliance.model import Problem, pointer
from router.document import PortForward, RouterDocument
from router.network import guest_networks, public_addresses

_MOST_SHIFTED_PORTS = 1024


def problems(document: RouterDocument) -> Iterator[Problem]:
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
