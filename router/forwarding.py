"""Who may reach whom across the router: what each network is, and which access lists a connection meets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.memo import per_sections
from appliance.services.interfaces import links_towards
from router import acl
from router.document import RouterDocument
from router.elements import collapsed
from router.network import GuestNetwork, guest_networks, private_links, public_links

_UNSPECIFIED = ("0.0.0.0/32",)
"""What a DHCP client sends from before it has an address (RFC 2131, section 4.1)."""
_LINK_LOCAL = ("::/128", "fe80::/10")
"""What IPv6 hosts send from to find an address and their neighbours (RFC 4862, section 5.4)."""


@dataclass(frozen=True)
class Side:
    """A link whose other end is known: nobody there sends from another address."""

    link: str
    sources: tuple[str, ...]
    sources6: tuple[str, ...]


@dataclass(frozen=True)
class Forwarding:
    sides: tuple[Side, ...]
    inside: tuple[str, ...]
    """The guest networks, that nobody outside is in; and those of IPv6."""
    inside6: tuple[str, ...]
    isolated: tuple[GuestNetwork, ...]
    """Guest networks with the firewall's egress rules."""
    tiers: tuple[str, ...]
    private: tuple[str, ...]
    leaving: dict[str, str]
    """The list that a connection meets where it comes from, by link; and where it goes to."""
    arriving: dict[str, str]
    private_nat: dict[str, tuple[str, ...]]
    """By private interface: the networks that go out there with its address."""
    origins: dict[str, str]
    """By link: the chain that knows who isn't behind it."""


_FEW = 3


def any_of(cidrs: Sequence[str]) -> list[str]:
    """As nft is to match them: a few one by one, which is quicker than a search; the last first, for the
    first is that of hosts without an address."""
    # Some nft stumbles over everybody as a prefix by itself; two halves collapse to that.
    if len(cidrs) <= _FEW and not any(cidr.endswith("/0") for cidr in cidrs):
        return list(reversed(cidrs))
    return [f"{{ {', '.join(cidrs)} }}"]


@per_sections("interfaces", "routes", "tiers", "private_gateways")
def forwarding(document: RouterDocument) -> Forwarding:
    networks = list(guest_networks(document))
    leaving, arriving = {}, {}
    for link, tier in sorted(document.tiers.items()):
        leaving[link], arriving[link] = acl.chain(tier.acl, "egress"), acl.chain(tier.acl, "ingress")
    for link, gateway in sorted(document.private_gateways.items()):
        if gateway.acl is not None:
            leaving[link] = acl.chain(gateway.acl, "ingress")
            arriving[link] = acl.chain(gateway.acl, "egress")
    tiers = tuple(cidr for network in networks if network.link in document.tiers for cidr in network.cidrs)
    sides = tuple(_sides(document, networks))
    outside = (*public_links(document), *private_links(document))
    return Forwarding(
        sides=sides,
        inside=tuple(collapsed(cidr for network in networks for cidr in network.cidrs)),
        inside6=tuple(collapsed(cidr for network in networks for cidr in network.cidrs6)),
        isolated=tuple(network for network in networks if network.link not in document.tiers),
        tiers=tuple(network.link for network in networks if network.link in document.tiers),
        private=tuple(private_links(document)),
        leaving=leaving,
        arriving=arriving,
        private_nat={
            link: tiers for link, gateway in sorted(document.private_gateways.items()) if gateway.source_nat
        },
        origins={
            **{side.link: f"from_{side.link}" for side in sides},
            **dict.fromkeys(outside, "from_outside"),
        },
    )


def _sides(document: RouterDocument, networks: list[GuestNetwork]) -> Iterator[Side]:
    behind: dict[str, list[str]] = {network.link: [] for network in networks}
    for route in document.routes.values():
        for link in links_towards(route, document.interfaces):
            if link in behind:
                behind[link].append(route.destination)
    for network in networks:
        # A route may lead to a wider network than its link.
        four = [text for text in behind[network.link] if ":" not in text]
        six = [text for text in behind[network.link] if ":" in text]
        yield Side(
            network.link,
            tuple(collapsed([*_UNSPECIFIED, *network.cidrs, *four])),
            tuple(collapsed([*_LINK_LOCAL, *network.cidrs6, *six])),
        )
