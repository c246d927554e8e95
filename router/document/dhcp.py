"""DHCP: what a guest network's guests are given."""

from typing import Annotated

from pydantic import Field

from appliance.address import DomainName, HostName, Ipv4Address, Ipv4Network, MacAddress
from appliance.document import Mtu
from appliance.model import Keyed, Model
from router.document.text import OptionText

LeaseSeconds = Annotated[int, Field(ge=120, le=31_536_000)]


class ClasslessRoute(Model):
    """One route of DHCP option 121 (RFC 3442)."""

    destination: Ipv4Network
    gateway: Ipv4Address


class DhcpOptions(Model):
    """What a lease carries beside the address; what is absent comes from the network's own settings."""

    router: Ipv4Address | None = None
    """Option 3; absent: the router's address on this network."""
    dns: list[Ipv4Address] | None = None
    """Option 6; absent: the router's address on this network. An empty list sends none."""
    domain: DomainName | None = None
    """Option 15; absent: the network's DNS domain."""
    search: list[DomainName] | None = None
    """Option 119 (RFC 3397)."""
    mtu: Mtu | None = None
    """Option 26; absent: the interface's MTU."""
    ntp: list[Ipv4Address] | None = None
    """Option 42."""
    routes: list[ClasslessRoute] | None = None
    """Option 121. RFC 3442 makes a client that gets it ignore option 3, so the default route is added."""
    extra: dict[
        Annotated[str, Field(pattern=r"^([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-4])$")], OptionText
    ] = {}
    """Any other option by its number (RFC 2132), as text, an address or a comma list of addresses."""


class DhcpRange(Model):
    """Addresses given to guests without a reservation, both ends included."""

    first: Ipv4Address
    last: Ipv4Address


class Reservation(Model):
    address: Ipv4Address
    hostname: HostName | None = None
    default_gateway: bool = True
    """False: this network is not the guest's way out, so it gets no router, DNS server or domain."""
    lease_seconds: LeaseSeconds | None = None
    options: DhcpOptions | None = None


class DhcpNetwork(Model):
    lease_seconds: LeaseSeconds = 3600
    ranges: list[DhcpRange] = []
    options: DhcpOptions = DhcpOptions()
    reservations: Keyed[MacAddress, Reservation] = {}
