"""Source NAT and static NAT."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router.document import RouterDocument
from router.network import guest_networks, public_addresses


def problems(document: RouterDocument) -> Iterator[Problem]:
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
