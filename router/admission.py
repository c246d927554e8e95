"""What the elements of the filter's sets say of the connections that they let in: so that those end with the
rule, and nobody else's."""

from collections.abc import Mapping

from appliance.admission import Admission, Admitted
from appliance.memo import per_key, per_sections
from router import wireguard
from router.document import LoadBalancer, RouterDocument
from router.elements import PROTOCOLS
from router.network import GuestNetwork, guest_networks

_FORWARD = ("port", "destination", "protocol")
_FORWARD_FROM = ("port", "source", "destination", "protocol")


def _tunnels(version: int) -> Mapping[str, Admission]:
    """Both ways: networks here and there, and addresses of peers; and servers of udp load balancers."""
    # The slot of a server says nothing of a connection.
    led = Admission(
        f"udp{version}", ("port", "destination", ""), ("reply_source", "reply_port"), protocol=17
    )
    return {
        f"tunnel_pairs{version}": Admission(
            f"tunnels{version}", ("source", "reply_source"), back=("reply_source", "source")
        ),
        f"user_pairs{version}": Admission(
            f"tunnels{version}", ("source", "reply_source"), back=("reply_source", "source")
        ),
        f"peers{version}": Admission(f"peers{version}", ("source",), back=("reply_source",)),
        f"peers_source_nat{version}": Admission(
            f"peers_source_nat{version}", ("source",), ("reply_destination",)
        ),
        f"udp_chance{version}": led,
        f"udp_source{version}": led,
        f"udp_resting{version}": Admission(
            f"udp{version}", ("port", "destination", "reply_source", "reply_port"), protocol=17
        ),
        f"udp_sources{version}": Admission(
            f"udp_sources{version}", ("port", "destination", "source"), protocol=17
        ),
    }


ADMISSIONS: Mapping[str, Admission] = {
    "forward_port": Admission("forward", _FORWARD, ("reply_source", "reply_port")),
    "forward_range": Admission("forward", _FORWARD, ("reply_source",)),
    "forward_port_from": Admission("forward", _FORWARD_FROM, ("reply_source", "reply_port")),
    "forward_range_from": Admission("forward", _FORWARD_FROM, ("reply_source",)),
    "static_nat": Admission("static_nat", ("destination",), ("reply_source",)),
    "static_nat_out": Admission("static_nat_out", ("source",), ("reply_destination",)),
    "source_nat": Admission("source_nat", ("source",), ("reply_destination",)),
    "tunnel_source_nat": Admission("tunnel_source_nat", ("source",), ("reply_destination",)),
    **_tunnels(4),
    **_tunnels(6),
}


@per_sections("interfaces", "wireguard")
def admissions(document: RouterDocument) -> Mapping[str, Admission]:
    """All, with what WireGuard's peers may reach: there each link has a set of its own."""
    found = dict(ADMISSIONS)
    for network in guest_networks(document):
        for version in (4, 6):
            found[f"reach_{network.link}_{version}"] = Admission(
                f"reach{version}", ("source",), back=("reply_source",), others=_cidrs(network, version)
            )
    for link, section in document.wireguard.items():
        networks = [*map(str, wireguard.pools(section)), *wireguard.behind(section)]
        for version in (4, 6):
            others = tuple(text for text in networks if (":" in text) == (version == 6))
            found[f"reach_{link}_{version}"] = Admission(f"reach{version}", ("source",), others=others)
    # A set that isn't about any network lets nobody in.
    return {name: each for name, each in found.items() if each.others or not name.startswith("reach_")}


def _cidrs(network: GuestNetwork, version: int) -> tuple[str, ...]:
    return network.cidrs if version == 4 else network.cidrs6


@per_sections("load_balancers")
def admitted(document: RouterDocument) -> tuple[Admitted, ...]:
    """What needs no element, because they are not about it."""
    found: list[Admitted] = []
    for kept in _balanced(document.load_balancers).values():
        found += kept
    return tuple(found)


@per_key
def _balanced(name: str, item: LoadBalancer) -> tuple[Admitted, ...]:
    """Of load balancers of udp those that are for everybody."""
    if item.mode != "udp" or item.source_cidrs:
        return ()
    here = (("destination", item.address), ("protocol", str(PROTOCOLS["udp"])))
    return (Admitted(f"udp_sources{6 if ':' in item.address else 4}", "port", str(item.port), here),)
