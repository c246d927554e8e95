"""What to ask a running appliance to learn whether it serves: plain values, run by the agent's probes."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class DnsCheck:
    """Ask a DNS server for a name's A record."""

    name: str
    server: str
    query: str
    expected: str
    virtual: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DhcpCheck:
    """Send a DHCPINFORM (RFC 2131, section 3.4) on a link from an address, and expect an acknowledgement."""

    name: str
    link: str
    address: str
    virtual: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpCheck:
    """GET a path over a unix socket, and expect status 200."""

    name: str
    socket: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MetadataCheck:
    """Ask for meta-data and for a password as something on a link would. The appliance is no guest, so what
    it gets is nobody's; an answer it is all the same."""

    name: str
    link: str
    address: str
    virtual: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkCheck:
    """A link whose card is there and has a carrier."""

    name: str
    link: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NtpCheck:
    """Ask NTP servers for the time (RFC 5905), one after the other until one tells it; ours is the same."""

    name: str
    servers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WireGuardCheck:
    """A tunnel that is up and has its UDP port."""

    name: str
    link: str
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NextHopCheck:
    """Ask the next hop of a watched route, as the watch does."""

    name: str
    link: str
    gateway: str
    probe: Literal["neighbour", "ping"]


Check = (
    DnsCheck | DhcpCheck | HttpCheck | MetadataCheck | LinkCheck | NtpCheck | WireGuardCheck | NextHopCheck
)
"""`name` is what health and metrics call the check by. What is on a `virtual` address is asked
where that is."""
