"""Observe and change WireGuard tunnels and their peers, through the kernel or the daemon of each.

A peer that is as wanted isn't touched, and of one that changes only what changes. Where a peer's packets
come from is WireGuard's to know: an endpoint is set when its peer comes or the document says another one.
Names are looked up apart from this, for an answer may take long.
"""

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance import disk
from appliance.curve25519 import clamped
from appliance.engine import wireguard_go, wireguard_kernel
from appliance.engine.change import Change
from appliance.engine.host import Host
from appliance.engine.rtnetlink import NetlinkError
from appliance.engine.wireguard_device import BackEnd, Device, DeviceChange, Peer, PeerChange
from appliance.resources import Unit, WireGuard, WireGuardPeer, is_named

KIND = "WireGuard"
_MARK = "sysvm tunnel"
_NOTE = "wireguard-"
_MOST_NAMED = 5
Counters = dict[str, dict[str, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class Noted:
    """What the engine noted of a tunnel that it made."""

    link: str
    in_kernel: bool
    resolvers: tuple[str, ...]
    names: Mapping[str, str]
    """By public key."""
    endpoints: Mapping[str, str]
    """As the document has them, by public key."""

    @property
    def back_end(self) -> BackEnd:
        return wireguard_kernel if self.in_kernel else wireguard_go


def plan(wanted: Sequence[WireGuard], host: Host, *, fresh: bool = False) -> Iterator[Change]:
    links = {link["name"]: link for link in host.links().values()}
    for tunnel in wanted:
        yield from _plan_tunnel(tunnel, links.get(tunnel.link), host)
    names = {tunnel.link for tunnel in wanted}
    for noted in known(host):
        if noted.link not in names:
            yield Change(
                kind=KIND,
                name=noted.link,
                action="delete",
                run=lambda noted=noted: _delete(noted, host),  # type: ignore[misc]
            )


def units(wanted: Sequence[WireGuard], host: Host) -> list[Unit]:
    """The daemons of those that the kernel can't make."""
    if not wanted or host.kernel_wireguard:
        return []
    return [Unit(name=tunnel.daemon) for tunnel in wanted]


def expected(names: Mapping[int, str], wanted: Sequence[WireGuard], host: Host) -> dict[int, str]:
    """The names that links will have, with the tunnels that come and without those that go."""
    going = {noted.link for noted in known(host)} - {tunnel.link for tunnel in wanted}
    found = {index: name for index, name in names.items() if name not in going}
    if wanted and host.kernel_wireguard:
        coming = [tunnel.link for tunnel in wanted if tunnel.link not in found.values()]
        # No index is below 0.
        found |= {-number: name for number, name in enumerate(coming, 1)}
    return found


def known(host: Host) -> Iterator[Noted]:
    """The tunnels that the engine made, whoever asks."""
    for path in sorted(host.state.glob(f"{_NOTE}*.json")):
        noted = host.note(path.name)
        if noted is not None:
            yield Noted(
                link=path.stem.removeprefix(_NOTE),
                in_kernel=noted["in_kernel"],
                resolvers=tuple(noted["resolvers"]),
                names=noted["names"],
                endpoints=noted["endpoints"],
            )


def read(host: Host, before: Counters) -> Counters:
    """Bytes of each peer since it came: `vpn-vpn0/alice` -> `sent` -> `bytes`, as the peer sees it. Behind a
    space is what began anew if it counts from 0: the interface, and the key. A tunnel that doesn't answer is
    taken to have counted nothing since `before`."""
    totals: Counters = {}
    for noted in known(host):
        try:
            index = socket.if_nametoindex(noted.link)
            device = noted.back_end.observe(noted.link)
        except OSError:
            device = None
        if device is None:
            place = f"vpn-{noted.link}/"
            totals |= {name: values for name, values in before.items() if name.startswith(place)}
            continue
        for key, peer in device.peers.items():
            if name := noted.names.get(key):
                totals[f"vpn-{noted.link}/{name} {index} {key}"] = {
                    "sent": {"bytes": peer.received},
                    "received": {"bytes": peer.sent},
                }
    return totals


def _plan_tunnel(tunnel: WireGuard, link: Mapping[str, Any] | None, host: Host) -> Iterator[Change]:
    back_end: BackEnd = wireguard_kernel if host.kernel_wireguard else wireguard_go
    device = back_end.observe(tunnel.link) if link else None
    if link is None or device is None:
        yield Change(
            kind=KIND,
            name=tunnel.link,
            action="create",
            detail=f"with {len(tunnel.peers)} peers",
            run=lambda: _create(tunnel, host),
        )
        return
    details = [*_link_details(tunnel, link), *_details(tunnel, device, host)]
    if details:
        more = f", and {len(details) - _MOST_NAMED} more" if len(details) > _MOST_NAMED else ""
        yield Change(
            kind=KIND,
            name=tunnel.link,
            action="update",
            detail=", ".join(details[:_MOST_NAMED]) + more,
            run=lambda: _update(tunnel, host),
        )


def _link_details(tunnel: WireGuard, link: Mapping[str, Any]) -> Iterator[str]:
    if link["mtu"] != tunnel.mtu:
        yield f"mtu {tunnel.mtu}"
    if not link["up"]:
        yield "up"
    if link["alias"] != _MARK:
        yield "mark as ours"


def _details(tunnel: WireGuard, device: Device, host: Host) -> Iterator[str]:
    """What is different, for a person: names, no secrets."""
    if device.private_key != clamped(tunnel.private_key):
        yield "its key"
    if device.listen_port != tunnel.listen_port:
        yield f"port {tunnel.listen_port}"
    noted = host.note(_note(tunnel.link)) or {}
    names = noted.get("names", {}) | {peer.public_key: peer.name for peer in tunnel.peers}
    for change in _peer_changes(tunnel, device, host):
        name = names.get(change.public_key) or f"peer {change.public_key[:8]}..."
        if change.remove:
            yield f"{name} goes"
        elif change.public_key not in device.peers:
            yield f"{name} comes"
        else:
            fields = ("preshared_key", "allowed_ips", "endpoint", "persistent_keepalive")
            yield f"{name}: {', '.join(field for field in fields if getattr(change, field) is not None)}"
    if noted != _noted(tunnel, host):
        yield "what its peers are called"


def _peer_changes(tunnel: WireGuard, device: Device, host: Host) -> Iterator[PeerChange]:
    noted = (host.note(_note(tunnel.link)) or {}).get("endpoints", {})
    keys = {peer.public_key for peer in tunnel.peers}
    for key in device.peers:
        if key not in keys:
            yield PeerChange(public_key=key, remove=True)
    for peer in tunnel.peers:
        change = _peer_change(peer, device.peers.get(peer.public_key), noted.get(peer.public_key))
        if change is not None:
            yield change


def _peer_change(wanted: WireGuardPeer, seen: Peer | None, noted: str | None) -> PeerChange | None:
    endpoint = wanted.endpoint if wanted.endpoint and not is_named(wanted.endpoint) else None
    if seen is None:
        return PeerChange(
            public_key=wanted.public_key,
            preshared_key=wanted.preshared_key or None,
            allowed_ips=wanted.allowed_ips,
            endpoint=endpoint,
            persistent_keepalive=wanted.persistent_keepalive or None,
        )
    different = PeerChange(
        public_key=wanted.public_key,
        preshared_key=wanted.preshared_key if wanted.preshared_key != seen.preshared_key else None,
        allowed_ips=wanted.allowed_ips if wanted.allowed_ips != seen.allowed_ips else None,
        endpoint=endpoint if wanted.endpoint != noted else None,
        persistent_keepalive=(
            wanted.persistent_keepalive if wanted.persistent_keepalive != seen.persistent_keepalive else None
        ),
    )
    return None if different == PeerChange(public_key=wanted.public_key) else different


def _create(tunnel: WireGuard, host: Host) -> None:
    if host.kernel_wireguard:
        with contextlib.suppress(LookupError):
            # Of another kind, in our place.
            host.ip.link("del", index=host.link_index(tunnel.link))
        host.ip.link("add", ifname=tunnel.link, kind=wireguard_kernel.LINK_KIND)
        _update(tunnel, host)
    elif wireguard_go.observe(tunnel.link) is not None:
        _update(tunnel, host)
    # Else its daemon starts at the end of the plan, and another one is made after that.


def _update(tunnel: WireGuard, host: Host) -> None:
    back_end: BackEnd = wireguard_kernel if host.kernel_wireguard else wireguard_go
    device = back_end.observe(tunnel.link)
    if device is None:
        return
    index = host.link_index(tunnel.link)
    host.ip.link("set", index=index, mtu=tunnel.mtu, ifalias=_MARK)
    changes = list(_peer_changes(tunnel, device, host))
    key = clamped(tunnel.private_key)
    removing = any(change.remove for change in changes)
    if removing:
        host.read_counters()
    back_end.change(
        tunnel.link,
        DeviceChange(
            private_key=key if device.private_key != key else None,
            listen_port=tunnel.listen_port if device.listen_port != tunnel.listen_port else None,
            peers=changes,
        ),
    )
    if removing:
        host.read_counters()
    host.ip.link("set", index=index, state="up")
    disk.write_json(host.state / _note(tunnel.link), _noted(tunnel, host))


def _delete(noted: Noted, host: Host) -> None:
    host.read_counters()
    if noted.in_kernel:
        with contextlib.suppress(LookupError, NetlinkError):
            host.ip.link("del", index=host.link_index(noted.link))
    disk.remove(host.state / _note(noted.link))
    host.read_counters()


def _note(link: str) -> str:
    return f"{_NOTE}{link}.json"


def _noted(tunnel: WireGuard, host: Host) -> dict[str, Any]:
    return {
        "in_kernel": host.kernel_wireguard,
        "resolvers": list(tunnel.resolvers),
        "names": {peer.public_key: peer.name for peer in tunnel.peers},
        "endpoints": {peer.public_key: peer.endpoint for peer in tunnel.peers if peer.endpoint},
    }
