"""The router's document. Every section is keyed so that a merge patch can name one item of it:
networks by their interface (`guest0`), reservations by MAC address, rules and forwards by name."""

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from appliance.address import (
    DomainName,
    HostName,
    InterfaceName,
    IpAddress,
    Ipv4Address,
    Ipv4Network,
    MacAddress,
    Name,
    Ports,
)
from appliance.document import Document, Mtu
from appliance.model import Keyed, Model, SecretLine

Verdict = Literal["accept", "drop"]
OptionText = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._:/,@+=-]{1,255}$")]
LineText = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$", max_length=4096)]
"""One line, also for readers that end lines at U+0085, U+2028 and U+2029."""
LeaseSeconds = Annotated[int, Field(ge=120, le=31_536_000)]


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"must be base64 (RFC 4648): {error}") from None
    return text


Base64 = Annotated[str, Field(max_length=2_800_000), AfterValidator(_base64)]
"""Bytes as base64; 2 MiB at most once decoded."""


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


class Upstream(Model):
    address: IpAddress
    port: Annotated[int, Field(ge=1, le=65535)] = 53


class MailExchange(Model):
    preference: Annotated[int, Field(ge=0, le=65535)] = 10
    target: DomainName
    """A name without a dot is in the network's domain."""


class DnsNetwork(Model):
    """The name server that one network's guests see. Guests with a reservation are in it by name."""

    domain: DomainName
    upstreams: list[Upstream] = []
    """Asked all at once, the first answer wins: the loss of one is not felt. None: only local names."""
    networks: list[InterfaceName] = []
    """Other networks of this router whose names these guests may resolve, too."""
    records: dict[DomainName, Annotated[list[IpAddress], Field(min_length=1)]] = {}
    """Static A and AAAA records; a name without a dot is in the network's domain."""
    aliases: dict[DomainName, DomainName] = {}
    """CNAME records; the target must be a name of this network."""
    texts: dict[DomainName, OptionText] = {}
    """TXT records."""
    mail: dict[DomainName, MailExchange] = {}
    """MX records."""


class SourceNat(Model):
    address: Ipv4Address


class StaticNat(Model):
    target: Ipv4Address


class PortForward(Model):
    """A public port (or range) that leads to a guest's. What may use it is the firewall's to say."""

    address: Ipv4Address
    protocol: Literal["tcp", "udp"]
    ports: Ports
    target: Ipv4Address
    target_ports: Ports | None = None
    """Absent: the same ports; else a range of the same length."""
    source_cidrs: list[Ipv4Network] = []
    """Only for clients in these networks; empty: for all."""


class FirewallRule(Model):
    verdict: Verdict
    protocol: Literal["tcp", "udp", "icmp", "all"] | Annotated[int, Field(ge=0, le=255)]
    ports: Ports | None = None
    """tcp and udp only; absent: all ports."""
    icmp_type: Annotated[int, Field(ge=0, le=255)] | None = None
    """icmp only; absent: all types."""
    source_cidrs: list[Ipv4Network] = []
    """Empty: any source."""


class IngressRule(FirewallRule):
    """A rule for new connections from outside to one public address and its public ports."""

    address: Ipv4Address


class EgressRule(FirewallRule):
    """A rule for new connections from a guest network to the outside."""

    destination_cidrs: list[Ipv4Network] = []
    """Empty: any destination."""


class Ingress(Model):
    """A drop rule that matches wins over any accept rule; without a match the policy decides."""

    policy: Verdict = "drop"
    rules: Keyed[Name, IngressRule] = {}


class Egress(Model):
    """As for ingress: drop before accept before the policy."""

    policy: Verdict = "accept"
    rules: Keyed[Name, EgressRule] = {}


class Firewall(Model):
    ingress: Ingress = Ingress()
    egress: dict[InterfaceName, Egress] = {}
    """By guest network; a network that is not named may not reach the outside."""


class GuestMetadata(Model):
    """What the metadata service tells one guest; its key is the MAC address of the guest's card."""

    address: Ipv4Address | None = None
    """Absent: the address of the reservation with this MAC."""
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    hostname: DomainName | None = None
    """Absent: the reservation's host name."""
    user_data: Base64 | None = None
    vendor_data: Base64 | None = None
    public_keys: list[LineText] = []
    keys: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")], LineText] = {}
    """Further meta-data: service-offering, availability-zone, public-ipv4, ... and the operator's own."""
    password: SecretLine | None = None
    """Handed out once through the password protocol."""


class MetadataNetwork(Model):
    tokens: Literal["optional", "required"] = "optional"
    """Whether EC2 paths want an IMDSv2 session token."""
    guests: Keyed[MacAddress, GuestMetadata] = {}


class Accounting(Model):
    """Traffic counters: per guest network, per public address."""

    networks: bool = True
    addresses: bool = True


class RouterDocument(Document):
    role: Literal["router"]
    dhcp: dict[InterfaceName, DhcpNetwork] = {}
    dns: dict[InterfaceName, DnsNetwork] = {}
    source_nat: dict[InterfaceName, SourceNat] = {}
    """By guest network: the public address its guests go out with."""
    static_nat: Keyed[Ipv4Address, StaticNat] = {}
    """By public address: the guest that has it, for all protocols and ports, both ways."""
    port_forwards: Keyed[Name, PortForward] = {}
    firewall: Firewall = Firewall()
    fast_path: bool = True
    """Established TCP and UDP connections pass the firewall's chains by, where the kernel has flowtables:
    quicker, and counted all the same. They outlive a change of rules with it as without."""
    metadata: dict[InterfaceName, MetadataNetwork] = {}
    accounting: Accounting | None = None
