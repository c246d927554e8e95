"""Certificates of load balancers: what is in them is what they are used for (RFC 5280).

cryptography is imported where there is one to look at: that takes a tenth of a second, and few have any.
"""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from appliance.memo import per_key
from appliance.model import Problem, pointer
from router.document import Certificate, RouterDocument
from router.document.load_balancing import PEM

if TYPE_CHECKING:
    from cryptography import x509

_SMALLEST_RSA_KEY = 2048


def problems(document: RouterDocument) -> Iterator[Problem]:
    for found in filter(None, _certificates(document.certificates).values()):
        yield from found


def lapsed(document: RouterDocument, running: RouterDocument | None) -> Iterator[Problem]:
    """Certificates past their time, or before it. One that runs already isn't refused for that: what else
    the document changes must not wait for a new one. Nor is one refused by a router that has nothing yet:
    it may be an old one built anew."""
    if running is not None and running.generation == 0:
        return
    known: Mapping[str, Certificate] = running.certificates if running is not None else {}
    for name, item in document.certificates.items():
        if (old := known.get(name)) is item or old == item:
            continue
        for field, beginning, end in _times(item):
            if time.time() >= end:
                when = f"has ended {time.strftime('%Y-%m-%d', time.gmtime(end))}"
            elif time.time() < beginning:
                when = f"begins {time.strftime('%Y-%m-%d', time.gmtime(beginning))}"
            else:
                continue
            yield Problem(pointer("certificates", name, field), f"Certificate {name}: its time {when}")


def _times(item: Certificate) -> Iterator[tuple[str, float, float]]:
    for field in ("certificate", "chain"):
        for found in _parsed(getattr(item, field)):
            yield field, found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


@per_key
def _certificates(name: str, item: Certificate) -> tuple[Problem, ...]:
    return tuple(
        Problem(pointer("certificates", name, field), f"Certificate {name}: {sentence}")
        for field, sentence in _sentences(item)
    )


def _sentences(item: Certificate) -> Iterator[tuple[str, str]]:
    own = _parsed(item.certificate)
    if len(own) != 1:
        yield "certificate", "there is no one certificate in PEM (RFC 7468); further ones belong in chain"
        return
    yield from _chain(item, own[0])
    yield from _key(item, own[0])


def _chain(item: Certificate, own: "x509.Certificate") -> Iterator[tuple[str, str]]:
    if item.chain is None:
        return
    chain = _parsed(item.chain)
    if not chain:
        yield "chain", "there is no certificate in PEM (RFC 7468)"
    issued = own
    for issuer in chain:
        if not _is_authority(issuer):
            yield "chain", f"{_subject(issuer)} is no authority that could have issued another"
            return
        if not _issued_by(issued, issuer):
            yield "chain", f"{_subject(issued)} isn't issued by {_subject(issuer)}, which comes next"
            return
        issued = issuer


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


def _key(item: Certificate, own: "x509.Certificate") -> Iterator[tuple[str, str]]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(item.key.get_secret_value().encode(), password=None)
    except TypeError:
        yield "key", "its key is encrypted; give it without a passphrase"
        return
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None or not PEM.fullmatch(item.key.get_secret_value()):
        yield "key", "its key is no private key in PEM (RFC 7468)"
        return
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        yield "key", "its key is neither of RSA nor of an elliptic curve, which clients could use"
    elif key.public_key() != own.public_key():
        yield "key", "its key is that of another certificate"
    elif isinstance(key, rsa.RSAPrivateKey) and key.key_size < _SMALLEST_RSA_KEY:
        yield "key", f"its RSA key has {key.key_size} bits; {_SMALLEST_RSA_KEY} are the least"


def _parsed(pem: str | None) -> "list[x509.Certificate]":
    """The certificates of a PEM text; none where it isn't wholly made of them."""
    if pem is None:
        return []
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem.encode())
    except ValueError:
        return []
