"""Active probes: each asks a service what a guest would ask it. All raise ProbeError with a sentence."""

import http.client
import socket
import struct
import time
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from appliance import dhcp
from appliance.agent import next_hops
from appliance.checks import (
    Check,
    DhcpCheck,
    DnsCheck,
    HttpCheck,
    LinkCheck,
    MetadataCheck,
    NextHopCheck,
    NtpCheck,
    WireGuardCheck,
)

_SECONDS = 2.0
_NTP_PORT = 123
_SINCE_1900 = 2_208_988_800
_MOST_OFFSET = 1.0


class ProbeError(Exception):
    """What a service didn't do, in a sentence."""


def run(check: Check) -> None:
    """Raises ProbeError, or OSError from the network."""
    match check:
        case DnsCheck() if check.virtual and not dhcp.is_own(check.server):
            pass
        case DhcpCheck() | MetadataCheck() if check.virtual and not dhcp.is_own(check.address):
            pass
        case DnsCheck():
            _dns(check)
        case DhcpCheck():
            _dhcp(check)
        case HttpCheck():
            _http(check)
        case MetadataCheck():
            _metadata(check)
        case LinkCheck():
            _link(check)
        case NtpCheck():
            _ntp(check)
        case WireGuardCheck():
            _wireguard(check)
        case NextHopCheck():
            _next_hop(check)


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
    if not dhcp.inform(link=check.link, address=check.address, seconds=_SECONDS):
        raise ProbeError(f"No DHCP server answered on {check.link} within {_SECONDS:g} s")


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


def _metadata(check: MetadataCheck) -> None:
    password = {"DomU_Request": "send_my_password"}
    for port, path, headers in ((80, "/latest/meta-data/", {}), (8080, "/", password)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as guest:
            guest.settimeout(_SECONDS)
            # The service listens on the guests' link only, and packets to ourselves come by the one we name.
            guest.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, check.link.encode())
            try:
                guest.connect((check.address, port))
                connection = http.client.HTTPConnection(check.address, port)
                connection.sock = guest
                connection.request("GET", path, headers=headers)
                connection.getresponse().read()
            except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                raise ProbeError(f"{check.address}:{port} doesn't answer on {check.link}: {error}") from None


def _link(check: LinkCheck) -> None:
    directory = Path(f"/sys/class/net/{check.link}")
    if not directory.exists():
        raise ProbeError(f"There is no network card for {check.link}")
    if (directory / "carrier").read_text().strip() != "1":
        raise ProbeError(f"{check.link} has no carrier")


def _wireguard(check: WireGuardCheck) -> None:
    if not Path(f"/sys/class/net/{check.link}").exists():
        raise ProbeError(f"There is no tunnel {check.link}")
    # proc(5): behind the slot's number an address and a port, in hexadecimal.
    port = f":{check.port:04X}"
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        if any(line.split()[1].endswith(port) for line in Path(table).read_text().splitlines()[1:]):
            return
    raise ProbeError(f"{check.link} doesn't listen on UDP port {check.port}")


def _next_hop(check: NextHopCheck) -> None:
    # One that is lost on the way is no fault.
    if not any(next_hops.answers(check.link, check.gateway, check.probe) for _ in range(3)):
        raise ProbeError(f"{check.gateway} on {check.link} doesn't answer")


def _ntp(check: NtpCheck) -> None:
    silent = []
    for server in check.servers:
        try:
            offset = ntp_offset(server)
        except OSError as error:
            silent.append(f"{server} doesn't tell the time: {error}")
            continue
        if abs(offset) > _MOST_OFFSET:
            raise ProbeError(f"The clock is {-offset:+.1f} s off the time of {server}")
        return
    raise ProbeError("; ".join(silent))


def ntp_offset(server: str, port: int = _NTP_PORT) -> float:
    """Seconds that a server's clock is ahead of ours. Raises OSError where it doesn't tell."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_SECONDS)
        asking.connect((server, port))
        # Version 4, a client, and nothing else (RFC 5905, section 7.3).
        asked = time.time()
        asking.send(bytes([4 << 3 | 3]) + bytes(47))
        answer = asking.recv(512)
        answered = time.time()
    stratum = answer[1] if len(answer) >= 48 else 0
    if not 0 < stratum < 16 or answer[0] >> 6 == 3:
        raise OSError("its own clock is not set")
    received, sent = _ntp_time(answer, 32), _ntp_time(answer, 40)
    return (received - asked + sent - answered) / 2


def _ntp_time(packet: bytes, place: int) -> float:
    """Seconds since 1970. Of its 32 bits of seconds since 1900 the highest is clear from 2036 on."""
    seconds, fraction = struct.unpack_from("!II", packet, place)
    era = 0 if seconds >> 31 else 1
    return float(seconds + (era << 32) - _SINCE_1900 + fraction / 2**32)
