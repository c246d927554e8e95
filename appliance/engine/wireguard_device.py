"""A WireGuard interface as both of its kinds tell it, and what may be changed of one. Keys are base64."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    preshared_key: str = field(repr=False)
    """Empty: none."""
    allowed_ips: frozenset[str]
    endpoint: str
    """ADDRESS:PORT where its last packet came from, or where it is said to be; empty: not known."""
    persistent_keepalive: int
    latest_handshake: int
    """Seconds since the epoch; 0: never."""
    received: int
    """Bytes, as they came: with WireGuard's own headers."""
    sent: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    private_key: str = field(repr=False)
    """Empty: none yet."""
    listen_port: int
    peers: Mapping[str, Peer]
    """By public key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerChange:
    """What is None stays as it is; a peer that isn't there comes."""

    public_key: str
    remove: bool = False
    update_only: bool = False
    """One that isn't there stays away."""
    preshared_key: str | None = field(default=None, repr=False)
    """Empty: none any more."""
    allowed_ips: frozenset[str] | None = None
    """All of them; another peer that has one of them loses it."""
    endpoint: str | None = None
    """ADDRESS:PORT."""
    persistent_keepalive: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceChange:
    private_key: str | None = field(default=None, repr=False)
    """Another one ends all sessions."""
    listen_port: int | None = None
    peers: Sequence[PeerChange] = ()


class BackEnd(Protocol):
    """What the module of a kind of WireGuard offers. Both raise OSError."""

    def observe(self, link: str) -> Device | None:
        """None where no such interface is there, or nobody answers for it."""

    def change(self, link: str, change: DeviceChange) -> None: ...
