"""What an appliance says to its own DHCP server, in the protocol that guests speak (RFC 2131).

A packet to the appliance's own address reaches the server as one from its link: nothing goes out to guests.
"""

import secrets
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

_SERVER_PORT = 67
_COOKIE = b"\x63\x82\x53\x63"
_BOOT_REQUEST, _ETHERNET = 1, 1
_MESSAGE_TYPE, _PARAMETERS, _SERVER, _CLIENT_ID, _SUBNET, _END = 53, 55, 54, 61, 118, 255
_REQUEST, _ACK, _RELEASE, _INFORM = 3, 5, 7, 8
_ROUTER, _MASK = 3, 1


def inform(*, link: str, address: str, seconds: float) -> bool:
    """Ask the server on a link of ours for its options (DHCPINFORM, section 3.4); whether it acknowledged
    within so many seconds. Raises OSError."""
    transaction = secrets.token_bytes(4)
    mac = Path(f"/sys/class/net/{link}/address").read_text().strip()
    options = bytes((_MESSAGE_TYPE, 1, _INFORM, _PARAMETERS, 2, _MASK, _ROUTER, _END))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(seconds)
        sender.bind((address, 0))
        sender.sendto(_message(mac, address, transaction) + options, (address, _SERVER_PORT))
        try:
            while True:
                reply = sender.recv(2048)
                if reply[4:8] == transaction and bytes((_MESSAGE_TYPE, 1, _ACK)) in reply[240:]:
                    return True
        except TimeoutError:
            return False


def release(*, server: str, mac: str, address: str) -> None:
    """Give a lease back in its holder's name (DHCPRELEASE, section 3.4.4). No answer comes."""
    options = bytes((_MESSAGE_TYPE, 1, _RELEASE, _SERVER, 4)) + socket.inet_aton(server) + bytes((_END,))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((server, 0))
        sender.sendto(_message(mac, address, secrets.token_bytes(4)) + options, (server, _SERVER_PORT))


def renew(*, server: str, mac: str, address: str, client_id: bytes = b"") -> None:
    """Tell a server of ours of a lease, by the renewal that its holder would send (DHCPREQUEST, section
    4.3.2). The server needn't be on the holder's network: it is told which one is meant (RFC 3011), and
    its answer, which a relay would get, comes to itself."""
    options = bytes((_MESSAGE_TYPE, 1, _REQUEST, _SUBNET, 4)) + socket.inet_aton(address)
    if client_id:
        options += bytes((_CLIENT_ID, len(client_id))) + client_id
    message = _message(mac, address, secrets.token_bytes(4), relay=server) + options + bytes((_END,))
    _send(server, message)


def withdraw(
    *, server: str, identifiers: Iterable[str], mac: str, address: str, client_id: bytes = b""
) -> None:
    """Take a lease from a server of ours that may go by any of these identifiers."""
    for identifier in identifiers:
        options = bytes((_MESSAGE_TYPE, 1, _RELEASE, _SUBNET, 4)) + socket.inet_aton(address)
        options += bytes((_SERVER, 4)) + socket.inet_aton(identifier)
        if client_id:
            options += bytes((_CLIENT_ID, len(client_id))) + client_id
        message = _message(mac, address, secrets.token_bytes(4), relay=server) + options + bytes((_END,))
        _send(server, message)


def is_own(address: str) -> bool:
    """Whether an IPv4 address is this machine's just now: what is sent to it then comes from it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, _SERVER_PORT))
        except OSError:
            return False
        return bool(asking.getsockname()[0] == address)


def _send(server: str, message: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((server, 0))
        sender.sendto(message, (server, _SERVER_PORT))


def _message(mac: str, address: str, transaction: bytes, *, relay: str = "0.0.0.0") -> bytes:  # noqa: S104
    """The fixed part of a client's message that names its own address."""
    return (
        struct.pack(
            "!BBBB4sHH4s8x4s16s192x",
            _BOOT_REQUEST,
            _ETHERNET,
            6,
            0,
            transaction,
            0,
            0,
            socket.inet_aton(address),
            socket.inet_aton(relay),
            bytes.fromhex(mac.replace(":", "")),
        )
        + _COOKIE
    )
