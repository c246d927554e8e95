"""WireGuard's sessions are a router's own, and a peer would find out by silence that its session's other end
is gone: after 15 s. So the primary tells where its peers are, and who becomes the primary begins a session
with each at once."""

import base64
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.curve25519 import clamped
from appliance.engine.wireguard_device import Device, DeviceChange, PeerChange

if TYPE_CHECKING:
    from appliance.engine.wireguard import Noted

_SESSION_SECONDS = 180
"""A session's keys are good for no longer after its handshake (WireGuard's REJECT_AFTER_TIME)."""
_NOTES = Path("/run/sysvm/engine")
Endpoints = Mapping[str, Mapping[str, str]]
"""ADDRESS:PORT by tunnel and public key."""


def endpoints() -> dict[str, dict[str, str]]:
    """Of peers with a session."""
    oldest = time.time() - _SESSION_SECONDS
    found = {}
    for noted in _tunnels():
        device = noted.back_end.observe(noted.link)
        peers = device.peers.items() if device is not None else ()
        found[noted.link] = {
            key: peer.endpoint for key, peer in peers if peer.endpoint and peer.latest_handshake > oldest
        }
    return found


def begin(theirs: Endpoints) -> int:
    """Begin sessions with these peers; how many."""
    count = 0
    for noted in _tunnels():
        device = noted.back_end.observe(noted.link)
        if device is None or not device.private_key:
            continue
        known = {key: at for key, at in theirs.get(noted.link, {}).items() if key in device.peers}
        for change in changes(device, known):
            noted.back_end.change(noted.link, change)
        count += len(known)
    return count


def _tunnels() -> "Iterator[Noted]":
    if any(_NOTES.glob("wireguard-*.json")):
        # Late: what it takes to ask the kernel is half of this process's memory.
        from appliance.engine import host, wireguard

        yield from wireguard.known(host.Host())


def changes(device: Device, known: Mapping[str, str]) -> list[DeviceChange]:
    """Another key, and the tunnel's own again, end all sessions: one of an earlier time as the primary is
    known to nobody any more. Where a keepalive begins to be wanted, one is sent, and a handshake before it;
    in the end it is as often wanted as it was."""
    wanted = {key: device.peers[key].persistent_keepalive for key in known}
    other = clamped(base64.b64encode(secrets.token_bytes(32)).decode())
    return [
        DeviceChange(private_key=other, peers=[_every(key, 0) for key in known]),
        DeviceChange(
            private_key=device.private_key,
            peers=[_every(key, seconds or 1, endpoint=known[key]) for key, seconds in wanted.items()],
        ),
        DeviceChange(peers=[_every(key, 0) for key, seconds in wanted.items() if not seconds]),
    ]


def _every(key: str, seconds: int, *, endpoint: str | None = None) -> PeerChange:
    return PeerChange(public_key=key, persistent_keepalive=seconds, endpoint=endpoint, update_only=True)
