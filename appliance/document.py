"""The common part of a document: what every role's appliance is told."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from appliance.address import HostName, InterfaceAddress, InterfaceName, IpAddress, MacAddress, Name, Network
from appliance.model import Keyed, Model

Mtu = Annotated[int, Field(ge=576, le=9216)]


class Interface(Model):
    mac: MacAddress
    """Finds the network card; the order in which cards appear means nothing."""
    addresses: list[InterfaceAddress] = []
    """Addresses with prefix length; the first is the interface's own, the others are further ones."""
    mtu: Mtu = 1500
    gateway: IpAddress | None = None
    """The default gateway, on the interface that leads out. Of several interfaces with one, the first by
    name is preferred."""
    gateway6: IpAddress | None = None
    """IPv6's default gateway, where `gateway` is IPv4's."""

    @property
    def gateways(self) -> list[str]:
        """The default gateways, at most one of each family."""
        return [gateway for gateway in (self.gateway, self.gateway6) if gateway is not None]


class NextHop(Model):
    gateway: IpAddress
    weight: Annotated[int, Field(ge=1, le=256)] = 1
    """Its part of the flows, next to the others' weights."""


class RouteWatch(Model):
    """Next hops that don't answer are left out of the route until they do again. Without any left the route
    is withdrawn, and the next best one is taken."""

    probe: Literal["neighbour", "ping"] = "neighbour"
    """Asked by ARP (RFC 826) or neighbour discovery (RFC 4861); or by an echo request."""
    interval_milliseconds: Annotated[int, Field(ge=100, le=60_000)] = 1000
    losses: Annotated[int, Field(ge=1, le=20)] = 3
    """So many unanswered ones in a row are a next hop that is gone."""
    answers: Annotated[int, Field(ge=1, le=20)] = 2
    """So many answered ones in a row are one that is back."""


class StaticRoute(Model):
    destination: Network
    gateway: IpAddress | None = None
    next_hops: Keyed[Name, NextHop] = {}
    """Several in place of one gateway: each flow takes one of them."""
    metric: Annotated[int, Field(ge=0, le=4294967295)] = 0
    """Of several routes to one destination the one with the lowest is taken."""
    watch: RouteWatch | None = None

    @property
    def gateways(self) -> list[str]:
        """Those of all next hops, by their names."""
        if self.gateway is not None:
            return [self.gateway]
        return [hop.gateway for _, hop in sorted(self.next_hops.items())]


class Ntp(Model):
    """Where a virtual machine gets the time from; a container has its host's clock."""

    servers: Annotated[list[IpAddress], Field(min_length=1, max_length=8)]
    """NTP servers (RFC 5905); the next is asked where one doesn't answer."""


class Document(Model):
    """One appliance's whole wanted state. A section that is absent means that its things are gone."""

    role: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    name: HostName
    """The appliance this document is for; another appliance refuses it."""
    generation: Annotated[int, Field(ge=1, le=2**53 - 1)]
    """Grows with every change; an older one is refused."""
    interfaces: dict[InterfaceName, Interface] = {}
    routes: dict[Name, StaticRoute] = {}
    ntp: Ntp | None = None

    def further_networks(self) -> Iterator[tuple[str, str]]:
        """Networks that sections of a role bring routes to, each behind the pointer to where it is said."""
        yield from ()
