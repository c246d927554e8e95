"""X.509 certificates and private keys in PEM (RFC 5280, RFC 7468), and whether they are fit to be used.

cryptography is imported where there is one to look at: that takes a tenth of a second, and few have any.
Faults are the ends of sentences that begin with whose certificate it is.
"""

import ipaddress
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

SMALLEST_RSA_KEY = 2048
"""Bits."""


def parsed(pem: str | None) -> "list[x509.Certificate]":
    """The certificates of a PEM text; none where it isn't wholly made of them."""
    if pem is None:
        return []
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem.encode(errors="surrogatepass"))
    except ValueError:
        return []


def chain_fault(own: "x509.Certificate", chain: "Sequence[x509.Certificate]") -> str | None:
    """Where one of these didn't issue what is before it."""
    issued = own
    for issuer in chain:
        if not _is_authority(issuer):
            return f"{_subject(issuer)} is no authority that could have issued another"
        if not _issued_by(issued, issuer):
            return f"{_subject(issued)} isn't issued by {_subject(issuer)}, which comes next"
        issued = issuer
    return None


def key_fault(own: "x509.Certificate", key: str, *, edwards: bool = False) -> str | None:
    """What is wrong with the private key of a certificate. `edwards`: whether one of Ed25519 will do."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "ENCRYPTED" in key:
        return "its key is encrypted; give it without a passphrase"
    try:
        found = load_pem_private_key(key.encode(errors="surrogatepass"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "its key is no private key in PEM (RFC 7468)"
    usual = isinstance(found, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    if not usual and not (edwards and isinstance(found, ed25519.Ed25519PrivateKey)):
        return "its key is neither of RSA nor of an elliptic curve, which clients could use"
    if found.public_key() != own.public_key():
        return "its key is that of another certificate"
    if isinstance(found, rsa.RSAPrivateKey) and found.key_size < SMALLEST_RSA_KEY:
        return f"its RSA key has {found.key_size} bits; {SMALLEST_RSA_KEY} are the least"
    return None


def lapse(pem: str | None) -> str | None:
    """Where the time of one of these certificates has ended, or hasn't begun."""
    now = time.time()
    for beginning, end in _times(pem):
        if now >= end:
            return f"its time has ended {time.strftime('%Y-%m-%d', time.gmtime(end))}"
        if now < beginning:
            return f"its time begins {time.strftime('%Y-%m-%d', time.gmtime(beginning))}"
    return None


@lru_cache(maxsize=4096)
def _times(pem: str | None) -> tuple[tuple[float, float], ...]:
    return tuple(
        (found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())
        for found in parsed(pem)
    )


def names(certificate: "x509.Certificate", identity: str) -> bool:
    """Whether a certificate has this address, host name or user@host as a subject alternative name."""
    from cryptography import x509

    try:
        told = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return identity in _texts(told)


def _texts(told: "x509.SubjectAlternativeName") -> Iterator[str]:
    from cryptography import x509

    yield from told.get_values_for_type(x509.DNSName)
    yield from told.get_values_for_type(x509.RFC822Name)
    for address in told.get_values_for_type(x509.IPAddress):
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
            yield str(address)


def _is_authority(certificate: "x509.Certificate") -> bool:
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ExtensionNotFound, ValueError):
        return False


def _issued_by(issued: "x509.Certificate", issuer: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(certificate: "x509.Certificate") -> str:
    return repr(certificate.subject.rfc4514_string())
