"""Servers and clients of protocols that tell each other of further connections: pyftpdlib, dnsmasq's TFTP,
curl, and a few messages of SIP and PPTP as the RFCs have them."""

import ftplib
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router_lab import Client, inside, until

from appliance.runtime import namespace

CONTENT = "what the file says\n"
ACTIVE, PASSIVE = (
    # Addresses in the commands themselves, which the helper has to read; a client that ignored them in the
    # answer would need no helper.
    ["--ftp-port", "-", "--disable-eprt"],
    ["--disable-epsv", "--no-ftp-skip-pasv-ip"],
)
ACTIVE6, PASSIVE6 = ["--ftp-port", "-"], ["--ftp-pasv"]


@contextmanager
def _running(client: Client, argv: list[str], ready: str) -> Iterator[None]:
    """A daemon in a client's namespace, from when a socket of it is there."""
    process = subprocess.Popen(
        namespace.entering(client.full, argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: ready in client.run("ss", "-Hltun"), seconds=30, what=" ".join(argv))
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def ftp_server(client: Client, directory: Path, *, port: int = 21, address: str = "") -> Iterator[None]:
    """Anybody may read there. It connects to nobody but who asks."""
    (directory / "file").write_text(CONTENT)
    at = ["--interface", address] if address else []
    argv = ["/usr/bin/python3", "-m", "pyftpdlib", *at, "--port", str(port), "--directory", str(directory)]
    with _running(client, argv, f":{port} "):
        yield


@contextmanager
def tftp_server(client: Client, directory: Path, address: str) -> Iterator[None]:
    """Answers from another port than it was asked on (RFC 1350)."""
    (directory / "file").write_text(CONTENT)
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root",
            "--pid-file", "--bind-interfaces", f"--listen-address={address}", "--enable-tftp",
            f"--tftp-root={directory}"]  # fmt: skip
    with _running(client, argv, f"{address}:69 "):
        yield


def kept_out(client: Client, url: str, *words: str) -> bool:
    """Whether curl doesn't get the file, asked with little patience."""
    return not fetched(client, url, *words, seconds=3)


def fetched(client: Client, url: str, *words: str, seconds: int = 20) -> bool:
    """Whether curl gets the file."""
    argv = ["curl", "--silent", "--max-time", str(seconds), *words, url]
    done = namespace.run(client.full, argv, timeout=40)
    return done.returncode == 0 and done.stdout == CONTENT


def invitation(own: str, server: str, audio: int) -> bytes:
    """SIP's INVITE (RFC 3261, section 24.2), with where its sender wants to be told (SDP, RFC 4566)."""
    told = f"c=IN IP4 {own}", "t=0 0", f"m=audio {audio} RTP/AVP 0"
    body = "\r\n".join(["v=0", f"o=alice 1 1 IN IP4 {own}", "s=-", *told, ""])
    head = [
        f"INVITE sip:bob@{server} SIP/2.0",
        f"Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK776asdhds",
        "Max-Forwards: 70",
        f"To: Bob <sip:bob@{server}>",
        f"From: Alice <sip:alice@{own}>;tag=1928301774",
        f"Call-ID: a84b4c76e66710@{own}",
        "CSeq: 314159 INVITE",
        f"Contact: <sip:alice@{own}:5060>",
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", body]).encode()


def heard_of(message: bytes) -> tuple[str, int]:
    """Where an INVITE says that its sender wants to hear: address and port."""
    lines = message.decode().splitlines()
    address = next(line.split()[2] for line in lines if line.startswith("c=IN IP4 "))
    return address, next(int(line.split()[1]) for line in lines if line.startswith("m=audio "))


# --- PPTP (RFC 2637) ----------------------------------------------------------------------------------

_MAGIC = 0x1A2B3C4D
_GRE = 47


def _control(kind: int, content: bytes) -> bytes:
    return struct.pack("!HHIHH", 12 + len(content), 1, _MAGIC, kind, 0) + content


def _answered(connected: socket.socket, message: bytes) -> bytes:
    connected.sendall(message)
    return connected.recv(1024)


def _start(result: int) -> bytes:
    return struct.pack("!HBBIIHH", 0x0100, result, 0, 1, 1, 1, 1) + bytes(128)


def take_pptp(listening: socket.socket, own_call: int) -> tuple[socket.socket, str, int]:
    """Take one call, by a server's messages: the connection, where it came from, and his call ID."""
    connected, (address, _) = listening.accept()
    connected.settimeout(10)
    connected.recv(1024)
    connected.sendall(_control(2, _start(1)))
    request = connected.recv(1024)
    (call,) = struct.unpack_from("!H", request, 12)
    reply = struct.pack("!HHBBHIHHI", own_call, call, 1, 0, 0, 1_000_000, 64, 0, 0)
    connected.sendall(_control(8, reply))
    return connected, address, call


def call_pptp(connected: socket.socket, call: int) -> None:
    """A caller's messages; the tunnel is there with the answer to the second."""
    _answered(connected, _control(1, _start(0)))
    request = struct.pack("!HHIIIIHHHH", call, 1, 300, 100_000_000, 3, 3, 64, 0, 0, 0) + bytes(128)
    _answered(connected, _control(7, request))


def gre_socket(client: Client) -> socket.socket:
    with inside(client.full):
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, _GRE)
    made.settimeout(2)
    return made


def gre(call: int) -> bytes:
    """A packet of version 1, with the receiver's call ID as its key."""
    payload = os.urandom(8)
    return struct.pack("!HHHHI", 0x3001, 0x880B, len(payload), call, 1) + payload


class Session(ftplib.FTP):
    """One connection of a client's, and files by it as often as one likes."""

    def __init__(self, client: Client, address: str, *, passive: bool, port: int = 21) -> None:
        super().__init__(timeout=20)
        self._client = client
        with inside(client.full):
            self.connect(address, port)
        self.login()
        # By the commands with addresses in them.
        self.af = socket.AF_INET
        self.trust_server_pasv_ipv4_address = True
        self.set_pasv(passive)

    def fetch(self) -> str:
        received: list[bytes] = []
        with inside(self._client.full):
            self.retrbinary("RETR file", received.append)
        return b"".join(received).decode()
