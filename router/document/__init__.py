"""The router's document. Every section is keyed so that a merge patch can name one item of it:
networks by their interface (`guest0`), reservations by MAC address, rules and forwards by name.

One module here per noun; services and validation find all of them in this package.
"""

from typing import Literal

from appliance.address import InterfaceName, Ipv4Address, Name
from appliance.document import Document
from appliance.model import Keyed
from router.document.accounting import Accounting
from router.document.dhcp import (
    ClasslessRoute,
    DhcpNetwork,
    DhcpOptions,
    DhcpRange,
    LeaseSeconds,
    Reservation,
)
from router.document.dns import DnsNetwork, MailExchange, Upstream
from router.document.firewall import Egress, EgressRule, Firewall, FirewallRule, Ingress, IngressRule
from router.document.limits import Limit, Limits, Rate, Usual
from router.document.metadata import GuestMetadata, MetadataNetwork
from router.document.nat import PortForward, SourceNat, StaticNat
from router.document.text import Base64, LineText, OptionText, Verdict


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
    quicker, and counted all the same. Who has a rate in `limits` doesn't take this way."""
    limits: Limits = Limits()
    """Rates and connections of networks, guests and public addresses."""
    metadata: dict[InterfaceName, MetadataNetwork] = {}
    accounting: Accounting | None = None


__all__ = [
    "Accounting",
    "Base64",
    "ClasslessRoute",
    "DhcpNetwork",
    "DhcpOptions",
    "DhcpRange",
    "DnsNetwork",
    "Egress",
    "EgressRule",
    "Firewall",
    "FirewallRule",
    "GuestMetadata",
    "Ingress",
    "IngressRule",
    "LeaseSeconds",
    "Limit",
    "Limits",
    "LineText",
    "MailExchange",
    "MetadataNetwork",
    "OptionText",
    "PortForward",
    "Rate",
    "Reservation",
    "RouterDocument",
    "SourceNat",
    "StaticNat",
    "Upstream",
    "Usual",
    "Verdict",
]
