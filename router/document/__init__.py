"""The router's document. Every section is keyed so that a merge patch can name one item of it:
networks by their interface (`guest0`), reservations by MAC address, rules and forwards by name.

One module here per noun; services and validation find all of them in this package.
"""

from collections.abc import Iterator
from typing import Literal

from appliance.address import InterfaceName, Ipv4Address, Name
from appliance.document import Document
from appliance.model import Keyed
from router.document.accounting import Accounting
from router.document.acl import Acl, AclName, AclRule, PrivateGateway, Tier
from router.document.alg import Alg, AlgName
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
from router.document.http_rules import HttpRule, Redirect
from router.document.ipsec import Esp, EspProposal, Ike, IkeProposal, Tunnel, TunnelCertificate
from router.document.limits import Limit, Limits, Rate, Usual
from router.document.load_balancing import (
    Certificate,
    DefaultTimeouts,
    LoadBalancer,
    LoadBalancing,
    Server,
    ServerCheck,
    ServerGroup,
    ServerTls,
    Stickiness,
    Timeouts,
)
from router.document.metadata import GuestMetadata, MetadataNetwork
from router.document.nat import PortForward, SourceNat, StaticNat
from router.document.redundancy import Path, Redundancy, Tracking
from router.document.remote_access import Ikev2, L2tp, RemoteAccess, User
from router.document.text import Base64, LineText, OptionText, Verdict
from router.document.wireguard import WireGuard, WireGuardListen, WireGuardPeer


class RouterDocument(Document):
    role: Literal["router"]
    dhcp: dict[InterfaceName, DhcpNetwork] = {}
    dns: dict[InterfaceName, DnsNetwork] = {}
    source_nat: dict[InterfaceName, SourceNat] = {}
    """By guest network: the public address its guests go out with."""
    static_nat: Keyed[Ipv4Address, StaticNat] = {}
    """By public address: the guest that has it, for all protocols and ports, both ways."""
    port_forwards: Keyed[Name, PortForward] = {}
    load_balancers: Keyed[Name, LoadBalancer] = {}
    load_balancing: LoadBalancing = LoadBalancing()
    certificates: Keyed[Name, Certificate] = {}
    """What load balancers show their clients; by a name that they call it by."""
    firewall: Firewall = Firewall()
    acls: Keyed[AclName, Acl] = {}
    """Access lists by name."""
    tiers: dict[InterfaceName, Tier] = {}
    """Guest networks that are tiers of a VPC."""
    private_gateways: dict[InterfaceName, PrivateGateway] = {}
    """By private interface."""
    fast_path: bool = True
    """Established TCP and UDP connections pass the firewall's chains by, where the kernel has flowtables:
    quicker, and counted all the same. Who has a rate in `limits` doesn't take this way."""
    limits: Limits = Limits()
    """Rates and connections of networks, guests and public addresses."""
    alg: dict[AlgName, Alg] = {}
    """Application level gateways by protocol; none is on unless it is here."""
    metadata: dict[InterfaceName, MetadataNetwork] = {}
    wireguard: dict[InterfaceName, WireGuard] = {}
    """By the tunnel's interface: `vpn0`, ..."""
    accounting: Accounting | None = None
    redundancy: Redundancy | None = None
    """Absent: this router is alone."""

    ipsec: Keyed[Name, Tunnel] = {}
    """Tunnels to other sites, by name."""
    remote_access: RemoteAccess | None = None
    """Users' way into the guests' networks."""

    def further_networks(self) -> Iterator[tuple[str, str]]:
        for link, section in self.wireguard.items():
            yield from section.networks(link)


__all__ = [
    "Accounting",
    "Acl",
    "AclName",
    "AclRule",
    "Alg",
    "AlgName",
    "Base64",
    "Certificate",
    "ClasslessRoute",
    "DefaultTimeouts",
    "DhcpNetwork",
    "DhcpOptions",
    "DhcpRange",
    "DnsNetwork",
    "Egress",
    "EgressRule",
    "Esp",
    "EspProposal",
    "Firewall",
    "FirewallRule",
    "GuestMetadata",
    "HttpRule",
    "Ike",
    "IkeProposal",
    "Ikev2",
    "Ingress",
    "IngressRule",
    "L2tp",
    "LeaseSeconds",
    "Limit",
    "Limits",
    "LineText",
    "LoadBalancer",
    "LoadBalancing",
    "MailExchange",
    "MetadataNetwork",
    "OptionText",
    "Path",
    "PortForward",
    "PrivateGateway",
    "Rate",
    "Redirect",
    "Redundancy",
    "RemoteAccess",
    "Reservation",
    "RouterDocument",
    "Server",
    "ServerCheck",
    "ServerGroup",
    "ServerTls",
    "SourceNat",
    "StaticNat",
    "Stickiness",
    "Tier",
    "Timeouts",
    "Tracking",
    "Tunnel",
    "TunnelCertificate",
    "Upstream",
    "User",
    "Usual",
    "Verdict",
    "WireGuard",
    "WireGuardListen",
    "WireGuardPeer",
]
