"""Active probes: each asks a service what a guest would ask it. All raise ProbeError with a sentence."""

import http.client
import secrets
import socket
import struct
import time
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from appliance.checks import Check, DhcpCheck, DnsCheck, HttpCheck, LinkCheck

_SECONDS = 2.0
_DHCP_SERVER = 67
_MAGIC = b"\x63\x82\x53\x63"
_INFORM, _ACK = 8, 5


class ProbeError(Exception):
    """What a service didn't do, in a sentence."""


def run(check: Check) -> None:
    """Raises ProbeError, or OSError from the network."""
    match check:
        case DnsCheck():
            _dns(check)
        case DhcpCheck():
            _dhcp(check)
        case HttpCheck():
            _http(check)
        case LinkCheck():
            _link(check)


def _dns(check: DnsCheck) -> None:
    query = dns.message.make_query(check.query, dns.rdatatype.A)
    try:
        answer = dns.query.udp(query, check.server, timeout=_SECONDS)
    except dns.exception.Timeout:
        raise ProbeError(f"{check.server} didn't answer a DNS query within {_SECONDS:g} s") from None
    addresses = [
        item.to_text() for rrset in answer.answer for item in rrset if item.rdtype == dns.rdatatype.A
    ]
    if check.expected not in addresses:
        raise ProbeError(
            f"{check.server} says {check.query} is {addresses or 'unknown'}, not {check.expected}"
        )


def _dhcp(check: DhcpCheck) -> None:
    # A broadcast comes back to its sender as if it had arrived on the link it left by (ip_mc_output), so
    # the server sees what a guest would send; its answer goes to the sender's port.
    transaction = secrets.token_bytes(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, check.link.encode())
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.settimeout(0.2)
        link.bind((check.address, 0))
        link.sendto(_inform(check, transaction), ("255.255.255.255", _DHCP_SERVER))
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            try:
                reply = link.recv(2048)
            except TimeoutError:
                continue
            if reply[4:8] == transaction and bytes((53, 1, _ACK)) in reply[240:]:
                return
    raise ProbeError(f"No DHCP server answered on {check.link} within {_SECONDS:g} s")


def _inform(check: DhcpCheck, transaction: bytes) -> bytes:
    mac = bytes.fromhex(Path(f"/sys/class/net/{check.link}/address").read_text().strip().replace(":", ""))
    header = struct.pack(
        "!BBBB4sHH4s4s4s4s16s192x",
        1,  # BOOTREQUEST
        1,  # Ethernet
        6,
        0,
        transaction,
        0,
        0,
        socket.inet_aton(check.address),
        bytes(4),
        bytes(4),
        bytes(4),
        mac,
    )
    return header + _MAGIC + bytes((53, 1, _INFORM, 55, 1, 3, 255))


def _http(check: HttpCheck) -> None:
    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection.sock:
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(check.socket)
        connection.request("GET", check.path)
        response = connection.getresponse()
        text = response.read(2000).decode(errors="replace")
        if response.status != http.HTTPStatus.OK:
            raise ProbeError(f"GET {check.path} was answered {response.status}: {text}")


def _link(check: LinkCheck) -> None:
    directory = Path(f"/sys/class/net/{check.link}")
    if not directory.exists():
        raise ProbeError(f"There is no network card for {check.link}")
    if (directory / "carrier").read_text().strip() != "1":
        raise ProbeError(f"{check.link} has no carrier")
