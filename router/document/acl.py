"""Access lists of a VPC's tiers and private gateways."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.address import Name, Network, Ports
from appliance.model import Keyed, Model
from router.document.text import Verdict

AclName = Annotated[Name, Field(max_length=32)]


class AclRule(Model):
    """Decides about new connections, by the first rule that matches. Answers and related packets pass."""

    number: Annotated[int, Field(ge=1, le=65535)]
    """The rule's place in its direction: lower ones are asked first."""
    direction: Literal["ingress", "egress"]
    """As the tier sees it: ingress comes to it. Of a private gateway: ingress comes from behind it."""
    verdict: Verdict
    protocol: Literal["tcp", "udp", "icmp", "icmpv6", "all"] | Annotated[int, Field(ge=0, le=255)] = "all"
    ports: list[Ports] = []
    """Of the destination; tcp and udp only; empty: all."""
    icmp_type: Annotated[int, Field(ge=0, le=255)] | None = None
    """icmp and icmpv6 only; absent: all."""
    icmp_code: Annotated[int, Field(ge=0, le=255)] | None = None
    """Of that type; absent: all."""
    cidrs: list[Network] = []
    """The far end: sources of ingress, destinations of egress. Empty: anybody, of either family."""
    log: bool = False
    """Connections that this rule decides about are logged, 50 a second at most."""


class Acl(Model):
    """An ordered access list, for any number of tiers and private gateways."""

    ingress_policy: Verdict = "drop"
    """What becomes of connections that no ingress rule matches."""
    egress_policy: Verdict = "accept"
    rules: Keyed[Name, AclRule] = {}


class Tier(Model):
    """A guest network of a VPC: an access list decides what comes to it and leaves it, other tiers' traffic
    too. `firewall.egress` has no say in it."""

    acl: AclName


class PrivateGateway(Model):
    """A way from the tiers to a network that isn't public, as by a leased line."""

    acl: AclName | None = None
    """Absent: whatever the tiers' lists let through passes."""
    source_nat: bool = False
    """Tiers go out with the interface's own address."""
