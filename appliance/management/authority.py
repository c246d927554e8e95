"""The management plane's certificate authority, and the boot data that carries what it issues.

Certificates are X.509 (RFC 5280), keys EC P-256. An appliance's own certificate is for serverAuth only
and the management plane's for clientAuth only, so that one appliance can't configure another.
"""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr, TypeAdapter, ValidationError

from appliance import disk
from appliance.address import HostName
from appliance.boot import Boot, ControlInterface, Tls
from appliance.management import state

AUTHORITY_LIFETIME = datetime.timedelta(days=20 * 365)
APPLIANCE_LIFETIME = datetime.timedelta(days=5 * 365)
"""Boot data is the only way a certificate reaches an appliance: it has to last until a rebuild."""
CLIENT_LIFETIME = datetime.timedelta(days=365)
CLIENT_RENEWAL = CLIENT_LIFETIME / 3
"""The client certificate is made anew when less than this is left of it."""
BACKDATED = datetime.timedelta(days=1)
"""A machine that just booted may have a clock that is behind."""

AUTHORITY_FILE = "authority.pem"
CLIENT_FILE = "client.pem"
CA_FILE = "ca.pem"

_HOST_NAME: TypeAdapter[str] = TypeAdapter(HostName)


class InvalidNameError(ValueError):
    """A name that no certificate can be issued for."""


class Authority:
    """What can issue: the CA's certificate with its key, and where the client's are kept."""

    def __init__(
        self, directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self._directory = directory
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, directory: Path, *, now: datetime.datetime | None = None) -> "Authority":
        """The CA kept in a state directory, made on first use; renews the client certificate near its end.

        Raises OSError, and ValueError where a file isn't what was once written.
        """
        now = now or _now()
        state.prepare(directory)
        with state.locked(directory, "authority", wait=True):
            path = directory / AUTHORITY_FILE
            if not path.exists():
                # Certificate and key are one file, so that no crash can leave one without the other.
                certificate, key = _root(now)
                disk.replace(path, _pem(certificate) + _key_pem(key), mode=0o600)
            certificate, key = _load(path)
            authority = cls(directory, certificate, key)
            if not (directory / CA_FILE).exists():
                disk.replace(directory / CA_FILE, _pem(certificate), mode=0o644)
            if not authority._client_is_good(now):
                certificate, key = authority._issue(
                    "sysvm management plane",
                    now=now,
                    lifetime=CLIENT_LIFETIME,
                    purpose=ExtendedKeyUsageOID.CLIENT_AUTH,
                )
                disk.replace(authority.client_path, _pem(certificate) + _key_pem(key), mode=0o600)
        return authority

    @property
    def ca_path(self) -> Path:
        return self._directory / CA_FILE

    @property
    def client_path(self) -> Path:
        """The client's certificate and key, one PEM file."""
        return self._directory / CLIENT_FILE

    @property
    def ca_expires(self) -> datetime.datetime:
        return self._certificate.not_valid_after_utc

    def boot(
        self, name: str, role: str, control: ControlInterface, *, now: datetime.datetime | None = None
    ) -> Boot:
        """Boot data with a new identity, valid for APPLIANCE_LIFETIME. The key is kept nowhere else.

        Raises InvalidNameError, and pydantic.ValidationError for a role that can't be one.
        """
        try:
            _HOST_NAME.validate_python(name)
        except ValidationError:
            raise InvalidNameError(
                f"{name!r} can't be an appliance's name: 1 to 63 of a-z, 0-9 and -, no - at its ends."
            ) from None
        certificate, key = self._issue(
            name,
            now=now or _now(),
            lifetime=APPLIANCE_LIFETIME,
            purpose=ExtendedKeyUsageOID.SERVER_AUTH,
            dns=name,
        )
        return Boot(
            role=role,
            name=name,
            control=control,
            tls=Tls(
                ca=_pem(self._certificate).decode(),
                certificate=_pem(certificate).decode(),
                key=SecretStr(_key_pem(key).decode()),
            ),
        )

    def client_context(self) -> ssl.SSLContext:
        """For connections to agents: trusts this CA alone, and shows the management plane's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=_pem(self._certificate).decode())
        context.load_cert_chain(self.client_path)
        return context

    def _client_is_good(self, now: datetime.datetime) -> bool:
        try:
            certificate, _ = _load(self.client_path)
            certificate.verify_directly_issued_by(self._certificate)
        except Exception:  # lost, damaged or of another CA: whatever is wrong with it, a new one is right
            return False
        return certificate.not_valid_after_utc - now > CLIENT_RENEWAL

    def _issue(
        self, common_name: str, *, now: datetime.datetime, lifetime: datetime.timedelta,
        purpose: x509.ObjectIdentifier, dns: str | None = None,
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:  # fmt: skip
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(common_name, self._certificate.subject, key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if dns is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
        return builder.sign(self._key, hashes.SHA256()), key


def expires(pem: str) -> datetime.datetime:
    """When a PEM certificate ends (UTC). Raises ValueError."""
    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc


def boot_json(boot: Boot) -> str:
    """Boot data as the credential carries it, key and all: the one place where the key is written out."""
    fields = boot.model_dump()
    fields["tls"]["key"] = boot.tls.key.get_secret_value()
    return TypeAdapter(dict[str, object]).dump_json(fields, indent=2).decode()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _root(now: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two management planes' CAs must not look alike to whoever has certificates of both.
    common_name = f"sysvm CA {x509.random_serial_number():x}"[:24]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(common_name, subject, key.public_key(), now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    common_name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey,
    now: datetime.datetime, lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _load(path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    pem = path.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"{path} doesn't hold a certificate with its own key.")
    return certificate, key
