"""WireGuard tunnels and their peers as they are now, asked of who runs them."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from appliance.curve25519 import public_key
from appliance.engine import wireguard
from appliance.engine.host import Host

_SESSION_SECONDS = 180
"""A session's keys are good for no longer after its handshake (WireGuard's REJECT_AFTER_TIME)."""


def state(host: Host) -> dict[str, Any]:
    """By tunnel and peer. Bytes are since the peer came, as the peer sees them; times are
    seconds since the epoch. A tunnel that doesn't answer has no `public_key`."""
    return dict(_tunnels(host))


def _tunnels(host: Host) -> Iterator[tuple[str, dict[str, Any]]]:
    for noted in wireguard.known(host):
        told: dict[str, Any] = {"in_kernel": noted.in_kernel, "peers": {}}
        device = None
        with contextlib.suppress(OSError):
            device = noted.back_end.observe(noted.link)
        if device is not None:
            told |= {"public_key": public_key(device.private_key) if device.private_key else None}
            told |= {"listen_port": device.listen_port}
            told["peers"] = {
                noted.names[key]: {
                    "public_key": key,
                    "connected": time.time() - peer.latest_handshake < _SESSION_SECONDS,
                    "latest_handshake": peer.latest_handshake or None,
                    "endpoint": peer.endpoint or None,
                    "allowed_ips": sorted(peer.allowed_ips),
                    "sent": peer.received,
                    "received": peer.sent,
                }
                for key, peer in device.peers.items()
                if key in noted.names
            }
        yield noted.link, told
