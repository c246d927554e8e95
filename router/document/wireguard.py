"""WireGuard tunnels (https://www.wireguard.com/protocol/): remote users and other sites."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from appliance.address import InterfaceAddress, InterfaceName, IpAddress, Name, Network
from appliance.model import Keyed, Model, pointer

_ENDPOINT = re.compile(
    r"(?:\[(?P<six>[0-9a-f:]{2,39})\]|(?P<host>[a-z0-9.-]{1,253})):(?P<port>[1-9][0-9]{0,4})"
)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def _key(text: str) -> str:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    # One key has one text: what a tunnel is asked for must be what it tells.
    if len(found) != 32 or base64.b64encode(found).decode() != text:
        raise ValueError("must be a WireGuard key: 32 bytes as base64 (RFC 4648), as wg(8) writes them")
    if not any(found):
        raise ValueError("must not be the key of zeros, which everybody knows")
    return text


def _secret_key(secret: SecretStr) -> SecretStr:
    _key(secret.get_secret_value())
    return secret


PublicKey = Annotated[str, AfterValidator(_key)]
"""A Curve25519 point (RFC 7748): 32 bytes as base64."""
SecretKey = Annotated[SecretStr, AfterValidator(_secret_key)]
"""A private or a preshared key: 32 bytes as base64."""


def _endpoint(text: str) -> str:
    match = _ENDPOINT.fullmatch(text)
    host = (match["six"] or match["host"]) if match else ""
    if (
        match is None
        or int(match["port"]) > 65535
        or not (_is_address(host) if match["six"] else _is_host(host))
    ):
        raise ValueError(
            "must be HOST:PORT, like vpn.example.com:51820, 192.0.2.7:51820 or [2001:db8::7]:51820"
        )
    return text


def _is_host(host: str) -> bool:
    return _is_address(host) if host.replace(".", "").isdecimal() else _DOMAIN.fullmatch(host) is not None


def _is_address(text: str) -> bool:
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


Endpoint = Annotated[str, AfterValidator(_endpoint)]
"""Where a peer is found: an address or a name in lower case, and a UDP port."""


class WireGuardListen(Model):
    """Where peers find the tunnel."""

    addresses: Annotated[list[IpAddress], Field(min_length=1, max_length=8)]
    """Of public interfaces. What the tunnel begins by itself leaves with the first of its family."""
    port: Annotated[int, Field(ge=1, le=65535)] = 51820
    """UDP. The kernel takes it on all addresses of the router; the firewall opens it on these."""


class WireGuardPeer(Model):
    """A remote user, or the router of another site."""

    public_key: PublicKey
    preshared_key: SecretKey | None = None
    """Mixed into the handshake, against those who record now and have quantum computers later. A changed one
    counts from the next handshake on, which is two minutes later at most."""
    allowed_ips: Annotated[list[Network], Field(min_length=1)]
    """What is behind the peer: only from there do its packets come, and packets to there go to it."""
    endpoint: Endpoint | None = None
    """Where the peer is found first; absent: it begins. Answers go to wherever its packets come from. A name
    is looked up again once there was no handshake for 135 s."""
    persistent_keepalive: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Seconds between packets that keep a NAT's mapping alive."""
    reach: list[InterfaceName] | None = None
    """Guest networks and WireGuard tunnels that it may open connections to; guests of those may open
    connections to it, too. Absent: what the tunnel says."""


class WireGuard(Model):
    private_key: SecretKey
    listen: WireGuardListen
    addresses: Annotated[list[InterfaceAddress], Field(min_length=1)]
    """The router's own address in the tunnel with the prefix length of the pool that its users are in, like
    10.99.0.1/24 and fd00:99::1/64."""
    mtu: Annotated[int, Field(ge=576, le=9136)] = 1420
    """Of packets in the tunnel: 60 bytes less than the way outside carries by IPv4, 80 by IPv6."""
    reach: list[InterfaceName] | None = None
    """What peers may reach that don't say it themselves. Absent: all guest networks."""
    source_nat: Annotated[list[IpAddress], Field(max_length=2)] = []
    """Public addresses, one of a family at most, with which peers go out to the internet by this router (a
    full tunnel). Empty: they may not."""
    resolvers: Annotated[list[IpAddress], Field(max_length=4)] = []
    """DNS servers that know where peers with a name are. Empty: those that guests' names go to."""
    peers: Keyed[Name, WireGuardPeer] = {}

    def networks(self, link: str) -> Iterator[tuple[str, str]]:
        """What is behind the tunnel, each behind the pointer to where it is said."""
        for number, address in enumerate(self.addresses):
            network = str(ipaddress.ip_interface(address).network)
            yield pointer("wireguard", link, "addresses", number), network
        for name, peer in self.peers.items():
            for number, network in enumerate(peer.allowed_ips):
                yield pointer("wireguard", link, "peers", name, "allowed_ips", number), network
