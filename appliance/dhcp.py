"""What an appliance says to its own DHCP server, in the protocol that guests speak (RFC 2131).

A packet to the appliance's own address reaches the server as one from its link: nothing goes out to guests.
"""

import secrets
import socket
import struct
from pathlib import Path

_SERVER_PORT = 67
_COOKIE = b"\x63\x82\x53\x63"
_REQUEST, _ETHERNET = 1, 1
_MESSAGE_TYPE, _PARAMETERS, _SERVER, _END = 53, 55, 54, 255
_ACK, _RELEASE, _INFORM = 5, 7, 8
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


def _message(mac: str, address: str, transaction: bytes) -> bytes:
    """The fixed part of a client's message that names its own address."""
    return (
        struct.pack(
            "!BBBB4sHH4s12x16s192x",
            _REQUEST,
            _ETHERNET,
            6,
            0,
            transaction,
            0,
            0,
            socket.inet_aton(address),
            bytes.fromhex(mac.replace(":", "")),
        )
        + _COOKIE
    )
