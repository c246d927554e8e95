"""WireGuard in the kernel, by generic netlink (linux/wireguard.h)."""

import contextlib
from collections.abc import Mapping
from typing import Any

from appliance.engine.rtnetlink import IPRoute, NetlinkError, bare
from appliance.engine.wireguard_device import Device, DeviceChange, Peer, PeerChange

with bare("pyroute2"):
    from pyroute2.netlink.generic.wireguard import WireGuard

LINK_KIND = "wireguard"
_PROBE = "sysvm-wg-probe"
_NONE = "A" * 43 + "="
_ABSENT = (19, 95)
"""ENODEV, EOPNOTSUPP: there is no link of that name, or one of another kind."""


def available(ip: IPRoute) -> bool:
    """Whether the kernel has it: it loads the module when a link of that kind is asked for."""
    try:
        ip.link("add", ifname=_PROBE, kind=LINK_KIND)
    except (NetlinkError, OSError):
        return False
    with contextlib.suppress(NetlinkError):
        ip.link("del", ifname=_PROBE)
    return True


def observe(link: str) -> Device | None:
    try:
        with WireGuard() as wireguard:
            messages = list(wireguard.info(link))
    except NetlinkError as error:
        if error.code in _ABSENT:
            return None
        raise OSError(error.code, str(error)) from error
    private, port = "", 0
    peers: dict[str, Peer] = {}
    # One with many peers comes in several messages, and a peer with many addresses in two of them.
    for message in messages:
        private = _key(message.get_attr("WGDEVICE_A_PRIVATE_KEY")) or private
        port = message.get_attr("WGDEVICE_A_LISTEN_PORT") or port
        for told in message.get_attr("WGDEVICE_A_PEERS") or ():
            key = _key(told.get_attr("WGPEER_A_PUBLIC_KEY"))
            peers[key] = _peer(told, peers.get(key))
    return Device(private_key=private, listen_port=port, peers=peers)


def change(link: str, change: DeviceChange) -> None:
    try:
        with WireGuard() as wireguard:
            if change.private_key is not None or change.listen_port is not None:
                wireguard.set(link, private_key=change.private_key, listen_port=change.listen_port)
            for peer in change.peers:
                wireguard.set(link, peer=_arguments(peer))
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


def _arguments(peer: PeerChange) -> Mapping[str, Any]:
    arguments: dict[str, Any] = {"public_key": peer.public_key}
    if peer.remove:
        return {**arguments, "remove": True}
    if peer.update_only:
        arguments["update_only"] = True
    if peer.preshared_key is not None:
        arguments["preshared_key"] = peer.preshared_key or _NONE
    if peer.endpoint is not None:
        host, _, port = peer.endpoint.rpartition(":")
        arguments |= {"endpoint_addr": host.strip("[]"), "endpoint_port": int(port)}
    if peer.persistent_keepalive is not None:
        arguments["persistent_keepalive"] = peer.persistent_keepalive
    if peer.allowed_ips is not None:
        arguments |= {"replace_allowed_ips": True, "allowed_ips": sorted(peer.allowed_ips)}
    return arguments


def _peer(told: Any, before: Peer | None) -> Peer:
    networks = frozenset(network["addr"] for network in told.get_attr("WGPEER_A_ALLOWEDIPS") or ())
    handshake = told.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
    preshared = _key(told.get_attr("WGPEER_A_PRESHARED_KEY"))
    if before is not None:
        return Peer(
            preshared_key=before.preshared_key,
            allowed_ips=before.allowed_ips | networks,
            endpoint=before.endpoint,
            persistent_keepalive=before.persistent_keepalive,
            latest_handshake=before.latest_handshake,
            received=before.received,
            sent=before.sent,
        )
    return Peer(
        preshared_key="" if preshared == _NONE else preshared,
        allowed_ips=networks,
        endpoint=_endpoint(told.get_attr("WGPEER_A_ENDPOINT")),
        persistent_keepalive=told.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0,
        latest_handshake=handshake["tv_sec"] if handshake else 0,
        received=told.get_attr("WGPEER_A_RX_BYTES") or 0,
        sent=told.get_attr("WGPEER_A_TX_BYTES") or 0,
    )


def _endpoint(told: Any) -> str:
    if not told:
        return ""
    address = told["addr"]
    return f"[{address}]:{told['port']}" if ":" in address else f"{address}:{told['port']}"


def _key(told: Any) -> str:
    """pyroute2 gives a key as an attribute with the base64 as bytes in it."""
    if not told:
        return ""
    value = told["value"] if isinstance(told, Mapping) else told
    return value.decode() if isinstance(value, bytes) else str(value)
