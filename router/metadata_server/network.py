"""One guest network: its sockets, its records, and who is connected."""

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from router.metadata_server.answers import Door
from router.metadata_server.records import Records

LINK_LOCAL = "169.254.169.254"

_IP_FREEBIND = 15
_BACKLOG = 1024
_PER_GUEST = 16
"""Connections at a time: one guest that opens all it can leaves the others theirs."""
_STRANGERS = 64
"""Connections at a time of all that have no record: they can have as many addresses as they like."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A network's part of `config.json`."""

    address: str
    network: str
    tokens_required: bool
    further: tuple[tuple[str, str], ...] = ()
    """The router's address and the network of other subnets on the same link."""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.address, *(address for address, _ in self.further))

    def network_of(self, guest: str) -> str:
        """The network that an address is in."""
        for _, network in self.further:
            if ipaddress.IPv4Address(guest) in ipaddress.IPv4Network(network):
                return network
        return self.network


class Network:
    def __init__(self, link: str, settings: Settings, directory: Path) -> None:
        self.link = link
        self.settings = settings
        self.records = Records(directory)
        self.ifindex = 0
        self._listeners: dict[tuple[Door, str], asyncio.Server] = {}
        self._connected: Counter[str] = Counter()

    @property
    def listening(self) -> list[str]:
        return sorted({door.value for door, _ in self._listeners})

    async def listen(self, protocol: Callable[["Network", Door], asyncio.BufferedProtocol]) -> None:
        """Open what isn't open, as far as the interface is there; to be called again and again.

        An interface that went and came back by the same name is another one to the kernel, and
        sockets bound to the old one hear nothing.
        """
        try:
            ifindex = socket.if_nametoindex(self.link)
        except OSError:
            ifindex = 0
        if ifindex != self.ifindex:
            self.close_listeners()
            self.ifindex = ifindex
        if not ifindex:
            return
        places = [(Door.LINK_LOCAL, LINK_LOCAL, 80)]
        for own in self.settings.addresses:
            places += [(Door.GATEWAY, own, 80), (Door.PASSWORD, own, 8080)]
        for door, address, port in places:
            if (door, address) in self._listeners:
                continue
            try:
                listener = _bound(self.link, address, port)
            except OSError:
                continue
            try:
                self._listeners[door, address] = await asyncio.get_running_loop().create_server(
                    lambda door=door: protocol(self, door),  # type: ignore[misc]
                    sock=listener,
                    backlog=_BACKLOG,
                )
            except OSError:
                listener.close()

    def close_listeners(self) -> None:
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    def admit(self, address: str, *, known: bool) -> str | None:
        """Count a connection; the key to `release` it with, or None if there are too many."""
        key, limit = (address, _PER_GUEST) if known else ("", _STRANGERS)
        if self._connected[key] >= limit:
            return None
        self._connected[key] += 1
        return key

    def release(self, key: str) -> None:
        self._connected[key] -= 1
        if not self._connected[key]:
            del self._connected[key]


def _bound(link: str, address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Before bind: the same address and port are bound once for each interface, and a guest of one
        # network can't reach the socket of another.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode() + b"\0")
        # The address may come later than we do.
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener
