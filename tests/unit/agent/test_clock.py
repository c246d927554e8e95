"""From when on a certificate is valid, read as OpenSSL writes it."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.agent.clock import beginning


def certificate(begins: datetime.datetime, ends: datetime.datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "r1")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, ends)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("begins", "ends"),
    [("2026-11-21T09:08:07", "2031-01-01T00:00:00"), ("1999-12-31T23:59:59", "2049-12-31T23:59:59"),
     ("2049-12-31T23:59:59", "2050-01-01T00:00:00"), ("2051-02-03T04:05:06", "2059-01-01T00:00:00")],
)  # fmt: skip
def test_the_beginning_of_a_certificate(begins: str, ends: str) -> None:
    first, last = (datetime.datetime.fromisoformat(f"{text}+00:00") for text in (begins, ends))
    assert beginning(certificate(first, last)) == first.timestamp()


def test_what_is_no_certificate_says_nothing() -> None:
    with pytest.raises(ValueError, match="valid"):
        beginning("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match="valid"):
        beginning("nothing")
