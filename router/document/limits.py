"""How much of the router one network, one guest or one public address may take."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, WithJsonSchema

from appliance.address import InterfaceName, IpAddress, MacAddress
from appliance.model import Keyed, Model

_MAC: TypeAdapter[str] = TypeAdapter(MacAddress)


def _guest(text: str) -> str:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        if text.count(":") != 5:
            raise ValueError("must be the MAC address or the IP address of a guest") from None
        return _MAC.validate_python(text)
    if "%" in text or str(parsed) != text:
        raise ValueError(f"must be an IP address in its canonical form, {parsed}")
    return text


Guest = Annotated[
    str, AfterValidator(_guest), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f:.]{2,39}$"})
]
"""A guest by the MAC address of its card, which has a reservation or metadata; or by its address."""
Connections = Annotated[int, Field(ge=1, le=10_000_000)]
PerSecond = Annotated[int, Field(ge=1, le=1_000_000)]


class Rate(Model):
    """How fast. Both ways are given packets as the kernel forwards them, up to 64 KiB at once."""

    rate: Annotated[int, Field(ge=64_000, le=100_000_000_000)]
    """Bits per second: of IP packets where it is policed, of Ethernet frames where it is shaped."""
    burst: Annotated[int, Field(ge=65_536, le=1_000_000_000)] = 131_072
    """Bytes that may come at once after a pause; of a policer beside a second's worth."""
    mode: Literal["shaped", "policed"] = "shaped"
    """Shaped: what comes too fast waits its turn in a queue of its own (tc-htb(8), tc-fq_codel(8)), on each
    link by itself that it leaves by. Policed: it is dropped (nft limit), on all links together."""


class Limit(Model):
    """As a guest sees it: sent goes out by a public address, received comes in by one. Absent: no limit."""

    sent: Rate | None = None
    received: Rate | None = None
    connections: Connections | None = None
    """Tracked connections at once: those that are begun by a guest, or to a public address."""
    new_connections_per_second: PerSecond | None = None
    """A second's worth may come at once beside."""


class Usual(Model):
    """What every guest may that has no number of its own, told by its MAC address: one must not take the
    others' room in connection tracking, or their turn at the router's services. null: without end."""

    connections: Connections | None = 8192
    new_connections_per_second: PerSecond | None = 1000
    dhcp_packets_per_second: PerSecond | None = 20
    dns_packets_per_second: PerSecond | None = 2000


class Limits(Model):
    usual: Usual = Usual()
    guests: Keyed[Guest, Limit] = {}
    networks: dict[InterfaceName, Limit] = {}
    """All guests of a network together; `connections` are those that they begin."""
    addresses: Keyed[IpAddress, Limit] = {}
    """By public address; `connections` are those that come in."""
