"""Redundancy: a pair of routers, one of which has the addresses that both are told of."""

from typing import Annotated

from pydantic import Field

from appliance.address import HostName, InterfaceAddress, InterfaceName, IpAddress, Ipv4Network
from appliance.model import Model, SecretLine


class Path(Model):
    """A link by which the two routers hear one another, with addresses of their own: neither guests nor the
    world know of these, and they don't move."""

    address: InterfaceAddress
    peer: IpAddress
    """The other router's."""


class Tracking(Model):
    """What counts as a fault. The router with fewer of them is the primary."""

    links: bool = True
    """A link without a card or a carrier."""
    gateways: bool = True
    """A default gateway that doesn't answer ARP (RFC 826) or neighbour solicitations (RFC 4861)."""
    daemons: bool = True
    """A daemon of the document's that isn't running."""
    seconds: Annotated[int, Field(ge=1, le=60)] = 3
    """For so long a gateway is silent or a daemon dead before it is a fault; a link is one at once."""


class Redundancy(Model):
    """This router's part of a pair. Both have the same document but for their name, the MAC addresses, the
    addresses on paths, and their priority."""

    priority: Annotated[int, Field(ge=1, le=20)]
    """Of two without a fault, and without `preempt` only as long as neither is the primary, the one with the
    higher number is."""
    preempt: bool = False
    """Whether the one with the higher priority takes over from the other as soon as it can."""
    virtual_router_id: Annotated[int, Field(ge=1, le=255)]
    """VRID (RFC 5798, section 5.2.3): the pair's own on each of its paths."""
    advert_milliseconds: Annotated[int, Field(ge=50, le=10_000, multiple_of=10)] = 100
    """Between two adverts of the primary's; after three that didn't come the other takes over."""
    peer: HostName
    """The other appliance's name."""
    secret: Annotated[SecretLine, Field(min_length=16, max_length=128)]
    """Known to the two alone: by it they know one another when they share leases and passwords."""
    sync: InterfaceName
    """The path that shared state goes by, connections, leases and passwords: a link of its own."""
    paths: dict[InterfaceName, Path]
    """The sync link, and others where one of `path_network` isn't wanted. All are of one family."""
    path_network: Ipv4Network = "169.254.128.0/21"
    """Guest links that `paths` doesn't name are paths with a /31 from this network."""
    multicast: InterfaceName | None = None
    """The one path that adverts go by, to the group (224.0.0.18, ff02::12). Absent: by all, to the peer."""
    tracking: Tracking = Tracking()
