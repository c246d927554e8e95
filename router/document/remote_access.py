"""Remote access: users' own machines in the guests' networks, by IKEv2 (RFC 7296), or by L2TP in IPsec (RFC
3193) for those that know no better."""

from typing import Annotated

from pydantic import AfterValidator, Field

from appliance.address import InterfaceName, IpAddress, Ipv4Address, Ipv4Network, Network
from appliance.model import Keyed, Model, Secret, SecretLine
from router.document.ipsec import Identity, Pem

UserName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[A-Za-z0-9][A-Za-z0-9.-]{0,126})?$")
]


def _ascii(secret: Secret) -> Secret:
    if not 1 <= len(secret.get_secret_value()) <= 128 or not secret.get_secret_value().isascii():
        raise ValueError("must be 1 to 128 characters of ASCII: clients disagree about others")
    return secret


class User(Model):
    password: Annotated[SecretLine, AfterValidator(_ascii)]
    """What the user types in; never shown again, kept by the router for MS-CHAPv2, which needs it."""
    reach: list[InterfaceName] | None = None
    """Guest networks that he may open connections to, however he comes; guests of those may open connections
    to him, too. Absent: what `subnets` of all users says."""


class Ikev2(Model):
    """For what Windows, macOS, iOS and Android bring with them: EAP-MSCHAPv2 (RFC 3748)."""

    address: IpAddress
    """The public address that users connect to."""
    identity: Identity
    """What they call the server by, its name mostly; the certificate must have it as a subject alternative
    name."""
    certificate: Pem
    """Certificates of intermediate authorities follow the server's own."""
    private_key: Secret
    """PEM, not encrypted."""


class L2tp(Model):
    """For old clients: PPP with MS-CHAPv2 in L2TP (RFC 2661), in IPsec with a key that all users share
    (IKEv1, transport mode)."""

    address: Ipv4Address
    """The public address that users connect to."""
    psk: SecretLine
    """Pre-shared key of 16 characters or more. It keeps strangers from knocking; who somebody is, his
    password says."""
    pool: Ipv4Network
    """A network of its own, like that of `remote_access`; the router has its first address."""
    obsolete: bool = False
    """Take proposals with algorithms that are broken or about to be: 3des and modp1024. SHA-1 as HMAC is
    taken anyway, for without it there are hardly any clients."""


class RemoteAccess(Model):
    """Users get an address of the pool each, IPv4, IPv6 or both; by L2TP one of that section's."""

    pool: Annotated[list[Network], Field(max_length=2)] = []
    """For users by IKEv2: one network per family. On no guest network and in no tunnel."""
    subnets: list[Network] = []
    """What users reach that don't say it themselves. Empty: all guest networks."""
    full_tunnel: bool = False
    """All that users send goes through the router, to the internet as well; else (split tunnel) only what
    is for the subnets."""
    dns: Annotated[list[IpAddress], Field(max_length=4)] = []
    """Pushed to users."""
    source_nat: IpAddress | None = None
    """The public IPv4 address that users go out to the internet with by a full tunnel."""
    ikev2: Ikev2 | None = None
    l2tp: L2tp | None = None
    users: Keyed[UserName, User] = {}
