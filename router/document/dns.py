"""DNS: the names that a guest network's guests may resolve."""

from typing import Annotated

from pydantic import Field

from appliance.address import DomainName, InterfaceName, IpAddress
from appliance.model import Model
from router.document.text import OptionText


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
