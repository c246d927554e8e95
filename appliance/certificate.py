"""X.509 certificates in PEM (RFC 5280, RFC 7468), and whether they are fit to be used with a key."""

import base64
import binascii
import datetime
import ipaddress
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PEM = re.compile("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
# Validity ::= SEQUENCE { notBefore Time, notAfter Time } in DER (RFC 5280, 4.1.2.5), as UTCTime or
# GeneralizedTime.
_TIME = rb"(?:\x17\x0d(\d{12})|\x18\x0f(\d{14}))Z"
_VALIDITY = re.compile(_TIME + _TIME, re.DOTALL)
_now: ContextVar[float | None] = ContextVar("now", default=None)


class CertificateError(Exception):
    """What is wrong with a certificate or a key, as the end of a sentence that begins with what it is."""


@contextmanager
def whatever_has_expired() -> Iterator[None]:
    """A document that was taken once is taken again, also when a certificate in it has run out since: all
    else in it must go on."""
    token = _now.set(0.0)
    try:
        yield
    finally:
        _now.reset(token)


def require_valid(certificate: str) -> None:
    """Raises CertificateError where it is none, or has expired."""
    # Imported late: it takes long, and guests wait.
    import ssl

    try:
        end = _end(certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        raise CertificateError("is no certificate in PEM") from None
    now = _now.get()
    if end < (time.time() if now is None else now):
        when = datetime.datetime.fromtimestamp(end, datetime.UTC).isoformat(" ", "seconds")
        raise CertificateError(f"expired at {when}")


def require_key(certificate: str, private_key: str) -> None:
    """Raises CertificateError where the key can't be read, or is another certificate's."""
    if "ENCRYPTED" in private_key:
        raise CertificateError("is encrypted; the appliance has nobody to ask for a passphrase")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with _in_memory(certificate) as chain, _in_memory(private_key) as key:
            context.load_cert_chain(chain, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError("doesn't belong to the certificate") from None
        raise CertificateError("is no private key in PEM") from None
    except (OSError, ValueError):
        raise CertificateError("is no private key in PEM") from None


def names(certificate: str, identity: str) -> bool:
    """Whether a certificate has this address, host name or user@host as a subject alternative name."""
    try:
        tag, value = 0x87, ipaddress.ip_address(identity).packed
    except ValueError:
        tag, value = 0x81 if "@" in identity else 0x82, identity.encode()
    return bytes([tag, len(value)]) + value in _der(certificate)


def _end(certificate: str) -> float:
    found = _VALIDITY.search(_der(certificate))
    if found is None:
        raise ValueError("it says nothing of when it is valid")
    _, _, short, long = found.groups()
    # Years of two digits are from 1950 to 2049.
    text = long or (b"19" if short >= b"50" else b"20") + short
    return datetime.datetime.strptime(f"{text.decode()}+0000", "%Y%m%d%H%M%S%z").timestamp()


def _der(certificate: str) -> bytes:
    """Of the first certificate; raises ValueError where there is none."""
    pem = _PEM.search(certificate)
    if pem is None:
        raise ValueError("there is no certificate")
    try:
        return base64.b64decode("".join(pem[1].split()), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The path of a file that no disk has, and no other process: the library reads only files."""
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, text.encode(errors="surrogatepass"))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
