"""The firewall of an isolated network: what may come to a public address, what guests may reach."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.address import InterfaceName, IpAddressOrNetwork, Name, Network, Ports
from appliance.model import Keyed, Model
from router.document.text import Verdict


class FirewallRule(Model):
    verdict: Verdict
    protocol: Literal["tcp", "udp", "icmp", "icmpv6", "all"] | Annotated[int, Field(ge=0, le=255)]
    ports: Ports | None = None
    """tcp and udp only; absent: all ports."""
    icmp_type: Annotated[int, Field(ge=0, le=255)] | None = None
    """icmp and icmpv6 only; absent: all types."""
    source_cidrs: list[Network] = []
    """Empty: any source."""
    log: bool = False
    """Connections that this rule decides about are logged, 50 a second at most."""


class IngressRule(FirewallRule):
    """A rule for new connections from outside to one public address and its public ports, or to what is
    routed: guests' own addresses of IPv6, and of IPv4 where their network has no source NAT."""

    address: IpAddressOrNetwork
    """A network: of guests, whole or a part of it."""


class EgressRule(FirewallRule):
    """A rule for new connections from a guest network to the outside."""

    destination_cidrs: list[Network] = []
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
