"""IPsec tunnels from site to site (RFC 4301), by IKEv2 (RFC 7296) or IKEv1 (RFC 2409)."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from appliance.address import DomainName, InterfaceName, IpAddress, Network
from appliance.model import Model, Secret, SecretLine

OBSOLETE = frozenset({"3des", "md5", "sha1", "modp1024", "modp1536"})
"""What is refused unless the tunnel says `"obsolete": true` (RFC 8247, RFC 8221)."""

_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}(@[A-Za-z0-9][A-Za-z0-9.-]{0,126})?")
_PART = r"[A-Z]{1,4}=[A-Za-z0-9](?:[A-Za-z0-9 ._@()'-]{0,62}[A-Za-z0-9._)])?"
_DISTINGUISHED = re.compile(rf"{_PART}(?:, {_PART}){{0,9}}")


def _identity(text: str) -> str:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        if _NAMED.fullmatch(text) or _DISTINGUISHED.fullmatch(text):
            return text
        raise ValueError(
            "must be an address, a name like vpn.example.org, user@example.org, or a distinguished name "
            "like C=CH, O=Example, CN=vpn"
        ) from None
    if "%" in text or str(parsed) != text:
        raise ValueError("must be an address in its canonical form, without a zone")
    return text


Identity = Annotated[str, AfterValidator(_identity)]
"""What a peer calls itself (RFC 7296, section 3.5); its kind follows from its form."""

Pem = Annotated[
    str,
    Field(
        pattern=r"^(-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+\n-----END CERTIFICATE-----\n?)+$",
        max_length=65536,
    ),
]
"""Certificates in PEM (RFC 7468), nothing else."""

Encryption = Literal[
    "aes128", "aes192", "aes256", "aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305", "3des"
]
Hash = Literal["sha256", "sha384", "sha512", "sha1", "md5"]
Group = Literal[
    "ecp256", "ecp384", "ecp521", "curve25519",
    "modp2048", "modp3072", "modp4096", "modp6144", "modp8192", "modp1536", "modp1024",
]  # fmt: skip


def is_aead(encryption: str) -> bool:
    """Whether a cipher authenticates what it encrypts, and needs no hash for it (RFC 5282)."""
    return "gcm" in encryption or "poly1305" in encryption


class IkeProposal(Model):
    """How the negotiation itself is protected. Of several proposals the peer's first common one is taken."""

    encryption: Encryption
    hash: Hash
    """Integrity and pseudo-random function; of a cipher that needs no integrity, the latter alone."""
    group: Group
    """Key exchange (Diffie-Hellman group)."""


class EspProposal(Model):
    """How the traffic is protected."""

    encryption: Encryption
    hash: Hash | None = None
    """Integrity; absent with GCM and ChaCha20-Poly1305, which have their own."""
    group: Group | None = None
    """For perfect forward secrecy: each new key comes of a key exchange of its own. Absent: without."""

    @model_validator(mode="after")
    def _integrity(self) -> "EspProposal":
        if is_aead(self.encryption) != (self.hash is None):
            raise ValueError(
                f"{self.encryption} has integrity of its own and takes no hash"
                if self.hash
                else f"{self.encryption} needs a hash for integrity"
            )
        return self


class Ike(Model):
    proposals: Annotated[list[IkeProposal], Field(min_length=1, max_length=8)] | None = None
    """Absent: AES-256-GCM with ECP-256 (IKEv2 only), then AES-256 with SHA-256 and MODP-2048."""
    lifetime_seconds: Annotated[int, Field(ge=300, le=604800)] = 28800
    """Before it new keys are negotiated; traffic goes on meanwhile."""


class Esp(Model):
    proposals: Annotated[list[EspProposal], Field(min_length=1, max_length=8)] | None = None
    """Absent: AES-256-GCM with ECP-256, then AES-256 with SHA-256 and MODP-2048."""
    lifetime_seconds: Annotated[int, Field(ge=300, le=86400)] = 3600


class TunnelCertificate(Model):
    """How the router proves who it is, and by whom the peer's certificate must have been issued."""

    certificate: Pem
    """Certificates of intermediate authorities may follow the router's own."""
    private_key: Secret
    """PEM, not encrypted."""
    peer_authority: Pem
    """The CA certificate that the peer's must descend from."""


class Tunnel(Model):
    version: Literal[1, 2] = 2
    """IKEv2, or IKEv1 (main mode) for peers that know no better."""
    local_address: IpAddress
    """One of the router's public addresses."""
    local_id: Identity | None = None
    """Absent: the local address."""
    remote_address: IpAddress | DomainName | None = None
    """Absent: the peer may come from anywhere, and is known by its `remote_id`."""
    remote_id: Identity | None = None
    """Absent: the remote address."""
    psk: SecretLine | None = None
    """Pre-shared key of 16 characters or more; else there is a `certificate`."""
    certificate: TunnelCertificate | None = None
    local_subnets: Annotated[list[Network], Field(min_length=1, max_length=100)]
    remote_subnets: Annotated[list[Network], Field(min_length=1, max_length=100)]
    link: InterfaceName | None = None
    """`vpnN`: route-based, by an interface of its own through which the remote subnets are routed; any
    address may pass for the peer. Absent: policy-based, the subnets themselves are negotiated."""
    split_subnets: bool = False
    """Negotiate each pair of subnets by itself, for IKEv2 peers that take only one. With IKEv1 that is
    always so."""
    passive: bool = False
    """Wait for the peer to begin."""
    force_encapsulation: bool = False
    """UDP encapsulation (RFC 3948) also where no NAT is in between."""
    dpd_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """After so much silence the peer is asked whether it lives (RFC 3706); 0: never."""
    ike: Ike = Ike()
    esp: Esp = Esp()
    obsolete: bool = False
    """Take proposals with algorithms that are broken or about to be: 3des, md5, sha1, modp1024, modp1536."""
