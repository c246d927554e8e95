"""WireGuard in user space, by the protocol that all such daemons speak on a socket in /run/wireguard
(https://www.wireguard.com/xplatform/): lines of KEY=VALUE, keys in hexadecimal, an empty line at the end."""

import base64
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from appliance.engine.wireguard_device import Device, DeviceChange, Peer, PeerChange

DIRECTORY = Path("/run/wireguard")
_SECONDS = 10.0
_NONE = "00" * 32


def observe(link: str) -> Device | None:
    try:
        lines = _ask(link, "get=1\n\n")
    except (FileNotFoundError, ConnectionError):
        return None
    fields: dict[str, str] = {}
    peers: dict[str, list[tuple[str, str]]] = {}
    of: list[tuple[str, str]] | None = None
    for key, value in lines:
        if key == "public_key":
            of = peers.setdefault(_base64(value), [])
        elif of is None:
            fields[key] = value
        else:
            of.append((key, value))
    return Device(
        private_key=_base64(fields["private_key"]) if "private_key" in fields else "",
        listen_port=int(fields.get("listen_port", 0)),
        peers={key: _peer(told) for key, told in peers.items()},
    )


def change(link: str, change: DeviceChange) -> None:
    _ask(link, "".join(f"{line}\n" for line in _lines(change)) + "\n")


def _peer(told: list[tuple[str, str]]) -> Peer:
    fields = dict(told)
    preshared = fields.get("preshared_key", _NONE)
    return Peer(
        preshared_key="" if preshared == _NONE else _base64(preshared),
        allowed_ips=frozenset(value for key, value in told if key == "allowed_ip"),
        endpoint=fields.get("endpoint", ""),
        persistent_keepalive=int(fields.get("persistent_keepalive_interval", 0)),
        latest_handshake=int(fields.get("last_handshake_time_sec", 0)),
        received=int(fields.get("rx_bytes", 0)),
        sent=int(fields.get("tx_bytes", 0)),
    )


def _lines(change: DeviceChange) -> Iterator[str]:
    yield "set=1"
    if change.private_key is not None:
        yield f"private_key={_hexadecimal(change.private_key)}"
    if change.listen_port is not None:
        yield f"listen_port={change.listen_port}"
    for peer in change.peers:
        yield from _peer_lines(peer)


def _peer_lines(peer: PeerChange) -> Iterator[str]:
    yield f"public_key={_hexadecimal(peer.public_key)}"
    if peer.remove:
        yield "remove=true"
        return
    if peer.update_only:
        yield "update_only=true"
    if peer.preshared_key is not None:
        yield f"preshared_key={_hexadecimal(peer.preshared_key) if peer.preshared_key else _NONE}"
    if peer.endpoint is not None:
        yield f"endpoint={peer.endpoint}"
    if peer.persistent_keepalive is not None:
        yield f"persistent_keepalive_interval={peer.persistent_keepalive}"
    if peer.allowed_ips is not None:
        yield "replace_allowed_ips=true"
        yield from (f"allowed_ip={network}" for network in sorted(peer.allowed_ips))


def _ask(link: str, request: str) -> list[tuple[str, str]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(str(DIRECTORY / f"{link}.sock"))
        connection.sendall(request.encode())
        answer = b""
        while not answer.endswith(b"\n\n"):
            content = connection.recv(65536)
            if not content:
                raise ConnectionResetError(f"The daemon of {link} hung up")
            answer += content
    found = []
    for line in answer.decode().split():
        key, _, value = line.partition("=")
        found.append((key, value))
    error = -int(found.pop()[1])
    if error:
        raise OSError(error, f"{os.strerror(error)}, says the daemon of {link}")
    return found


def _hexadecimal(key: str) -> str:
    return base64.b64decode(key).hex()


def _base64(key: str) -> str:
    return base64.b64encode(bytes.fromhex(key)).decode()
