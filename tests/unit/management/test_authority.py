"""Certificates as OpenSSL and Python's ssl see them: who may be what, and until when."""

import datetime
import json
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from appliance.boot import Boot, ControlInterface
from appliance.management.authority import (
    APPLIANCE_LIFETIME,
    CLIENT_LIFETIME,
    CLIENT_RENEWAL,
    Authority,
    InvalidNameError,
    boot_json,
    expires,
)

CONTROL = ControlInterface(mac="02:00:00:00:00:01", address="169.254.3.2/24")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "state")


def written(boot: Boot, directory: Path) -> Path:
    path = directory / f"{boot.name}.pem"
    path.write_text(boot.tls.certificate + boot.tls.key.get_secret_value())
    return path


def server_context(boot: Boot, directory: Path) -> ssl.SSLContext:
    """What an agent listens with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=boot.tls.ca)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(written(boot, directory))
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, server_name: str) -> None:
    """One exchange of bytes over TLS; raises whatever either side thinks of the other."""
    ours, theirs = socket.socketpair()
    errors: list[Exception] = []

    def answer() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as connection:
                connection.sendall(connection.recv(1))
        except Exception as error:
            errors.append(error)
        finally:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname=server_name) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x" or errors
    finally:
        thread.join()
    if errors:
        raise errors[0]


def test_management_plane_reaches_the_appliance_it_means(authority: Authority, tmp_path: Path) -> None:
    boot = authority.boot("r1", "router", CONTROL)
    handshake(server_context(boot, tmp_path), authority.client_context(), "r1")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"):
        handshake(server_context(boot, tmp_path), authority.client_context(), "r2")


def test_appliance_is_refused_as_a_client_of_another(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.boot("r1", "router", CONTROL), authority.boot("r2", "router", CONTROL)
    intruder = ssl.create_default_context(cadata=one.tls.ca)
    intruder.load_cert_chain(written(other, tmp_path))
    with pytest.raises(ssl.SSLError):
        handshake(server_context(one, tmp_path), intruder, "r1")


def test_management_plane_certificate_is_refused_as_a_server(authority: Authority, tmp_path: Path) -> None:
    verdict = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", authority.ca_path, "-purpose", "sslserver",
         authority.client_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "unsuitable certificate purpose" in verdict.stderr + verdict.stdout


@pytest.mark.parametrize(("purpose", "good"), [("sslserver", True), ("sslclient", False)])
def test_openssl_agrees_on_an_appliance_certificate(
    authority: Authority, tmp_path: Path, purpose: str, good: bool
) -> None:
    path = written(authority.boot("r1", "router", CONTROL), tmp_path)
    verdict = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", authority.ca_path, "-purpose", purpose,
         "-verify_hostname", "r1", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (verdict.returncode == 0) is good, verdict.stderr


def test_another_management_plane_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority.open(tmp_path / "stranger")
    boot = authority.boot("r1", "router", CONTROL)
    with pytest.raises(ssl.SSLError):
        handshake(server_context(boot, tmp_path), stranger.client_context(), "r1")


def test_extensions_as_openssl_prints_them(authority: Authority, tmp_path: Path) -> None:
    path = written(authority.boot("r1", "router", CONTROL), tmp_path)
    for file, lines in (
        (path, ["CA:FALSE", "TLS Web Server Authentication", "DNS:r1", "Authority Key Identifier",
                "Subject Key Identifier", "Digital Signature"]),
        (authority.ca_path, ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Subject Key Identifier"]),
    ):  # fmt: skip
        text = subprocess.run(
            ["openssl", "x509", "-in", file, "-noout", "-text"], capture_output=True, text=True, check=True
        ).stdout
        assert [line for line in lines if line not in text] == []
        assert "Client Authentication" not in text


def test_files_are_the_owners_alone_and_stay(authority: Authority, tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert directory.stat().st_mode & 0o777 == 0o700
    for name in ("authority.pem", "client.pem"):
        assert (directory / name).stat().st_mode & 0o777 == 0o600
    before = {path: path.read_bytes() for path in directory.glob("*.pem")}
    Authority.open(directory)
    assert {path: path.read_bytes() for path in directory.glob("*.pem")} == before


def test_client_certificate_is_renewed_near_its_end(authority: Authority, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    first = expires(authority.client_path.read_text())
    early = now + CLIENT_LIFETIME - CLIENT_RENEWAL - datetime.timedelta(hours=1)
    assert expires(Authority.open(tmp_path / "state", now=early).client_path.read_text()) == first
    late = early + datetime.timedelta(hours=2)
    renewed = expires(Authority.open(tmp_path / "state", now=late).client_path.read_text())
    assert renewed > first
    authority.client_path.write_text("damaged")
    Authority.open(tmp_path / "state").client_context()


def test_boot_data_is_read_back_with_its_key(authority: Authority) -> None:
    boot = authority.boot("r1", "router", CONTROL)
    assert Boot.model_validate_json(boot_json(boot)) == boot
    assert "PRIVATE KEY" in json.loads(boot_json(boot))["tls"]["key"]
    assert "PRIVATE KEY" not in repr(boot)
    left = expires(boot.tls.certificate) - datetime.datetime.now(datetime.UTC)
    assert abs(left - APPLIANCE_LIFETIME) < datetime.timedelta(minutes=1)
    serials = {authority.boot("r1", "router", CONTROL).tls.certificate for _ in range(3)}
    assert len(serials) == 3


@pytest.mark.parametrize("name", ["", "R1", "r_1", "-r1", "r1.example", "r" * 64, "r1\n"])
def test_names_that_are_no_dns_label_are_refused(authority: Authority, name: str) -> None:
    with pytest.raises(InvalidNameError):
        authority.boot(name, "router", CONTROL)
