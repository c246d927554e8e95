"""Certificates and keys made for a test, as PEM."""

import datetime
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_PEM = serialization.Encoding.PEM
_PKCS8 = serialization.PrivateFormat.PKCS8


@dataclass(frozen=True)
class Identity:
    certificate: str
    key: str
    secret: Key
    x509: x509.Certificate

    def encrypted(self) -> str:
        encryption = serialization.BestAvailableEncryption(b"secret")
        return self.secret.private_bytes(_PEM, _PKCS8, encryption).decode()


@cache
def identity(
    name: str,
    *,
    issuer: Identity | None = None,
    days: tuple[int, int] = (-1, 30),
    kind: str = "ec",
    authority: bool = False,
) -> Identity:
    """Valid from one day to another, counted from now; signed by itself unless there is an issuer."""
    secret = _secret(kind)
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.secret if issuer else secret
    assert not isinstance(signer, ed25519.Ed25519PrivateKey)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.x509.subject if issuer else subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return Identity(
        certificate=made.public_bytes(_PEM).decode(),
        key=secret.private_bytes(_PEM, _PKCS8, serialization.NoEncryption()).decode(),
        secret=secret,
        x509=made,
    )


def _secret(kind: str) -> Key:
    match kind:
        case "weak":
            return rsa.generate_private_key(public_exponent=65537, key_size=1024)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ec.generate_private_key(ec.SECP256R1())
