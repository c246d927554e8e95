"""The common part of a document: what every role's appliance is told."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from appliance.address import HostName, InterfaceAddress, InterfaceName, IpAddress, MacAddress, Name, Network
from appliance.model import Model

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


class StaticRoute(Model):
    destination: Network
    gateway: IpAddress
    metric: Annotated[int, Field(ge=0, le=4294967295)] = 0


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
