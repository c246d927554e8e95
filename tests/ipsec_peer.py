"""A strongSwan of its own in a network namespace, set up by hand as swanctl.conf(5) says.

Its programs are the router's tree's; nothing else of the router is in it. IPsec is in user space, as this
machine's kernel may have none.
"""

import datetime
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.runtime import namespace

SETTINGS = """
charon-systemd {
    load = random nonce openssl kdf pem x509 pubkey pkcs1 pkcs8 constraints revocation \
 kernel-libipsec kernel-netlink socket-default vici eap-identity eap-mschapv2
    retransmit_timeout = 1.0
    retransmit_tries = 3
    # Full tunnels: what is encrypted already mustn't go through them again.
    plugins {
        vici {
            socket = unix:///run/vici.sock
        }
        kernel-netlink {
            fwmark = !0x42
        }
        socket-default {
            fwmark = 0x42
        }
        kernel-libipsec {
            allow_peer_ts = yes
        }
    }
    filelog {
        log {
            path = /run/log
            default = 1
            flush_line = yes
        }
    }
}
"""


@dataclass
class Peer:
    place: str
    """The network namespace's name."""
    tree: Path
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, swanctl: str, files: Mapping[str, str] = {}) -> None:
        """With this configuration, and `files` below swanctl's directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        place = self.directory / "swanctl"
        for name in ("x509", "x509ca", "private"):
            (place / name).mkdir(parents=True)
        for name, content in files.items():
            (place / name).write_text(content)
        (self.directory / "strongswan.conf").write_text(SETTINGS)
        (place / "swanctl.conf").write_text(swanctl)
        self.run()

    def run(self) -> None:
        """Start it, again where it was killed."""
        (self.directory / "vici.sock").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            namespace.entering(self.place, self._inside("/usr/sbin/charon-systemd")),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not (self.directory / "vici.sock").exists():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log()
            time.sleep(0.02)
        self.swanctl("--load-all", "--noprompt")

    def kill(self) -> None:
        """Without a word to the other side."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def swanctl(self, command: str, *words: str, check: bool = True) -> str:
        argv = self._inside("/usr/sbin/swanctl", command, *words, "--uri", "unix:///run/vici.sock")
        done = namespace.run(self.place, argv, timeout=40)
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.log()
        return done.stdout + done.stderr

    def initiate(self, child: str, *, check: bool = True) -> str:
        return self.swanctl("--initiate", "--child", child, "--timeout", "15", check=check)

    def spis(self, connection: str) -> set[str]:
        """Of the pairs of ESP security associations of a connection."""
        text = self.swanctl("--list-sas", "--raw", "--ike", connection)
        words = text.replace("{", " ").replace("}", " ").split()
        return {word for word in words if word.startswith(("spi-in=", "spi-out="))}

    def log(self) -> str:
        try:
            return (self.directory / "log").read_text()
        except FileNotFoundError:
            return ""

    def _inside(self, *argv: str) -> list[str]:
        # In a mount namespace of its own: the tree is everybody's.
        script = (
            'mount --bind "$1" "$2/run"; mount --rbind /dev "$2/dev"; mount --rbind /proc "$2/proc"; '
            'tree=$2; shift 2; exec chroot "$tree" "$@"'
        )
        return [
            "unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh",
            str(self.directory), str(self.tree),
            "env", "STRONGSWAN_CONF=/run/strongswan.conf", "SWANCTL_DIR=/run/swanctl", *argv,
        ]  # fmt: skip


class Pki:
    """A certificate authority of a test's."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._certificate = self._build(self._name, self._key.public_key(), authority=True)

    @property
    def certificate(self) -> str:
        return _pem(self._certificate)

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate with this DNS name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        return _pem(self._build(_name(name), key.public_key(), san=name)), text

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool = False, san: str = ""
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        made: Any = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if san:
            names = x509.SubjectAlternativeName([x509.DNSName(san)])
            made = made.add_extension(names, critical=False)
        certificate: x509.Certificate = made.sign(self._key, hashes.SHA256())
        return certificate


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
