"""IPsec tunnels from site to site: connections and keys for strongSwan, links and routes for the kernel.

All policy-based tunnels share the link `ipsec0`, a route-based one has its own. So what goes through a
tunnel is told from the rest by its link alone, whichever way the kernel has IPsec: it meets no source NAT,
and while a tunnel is down nothing leaves for its far side unprotected.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from appliance.memo import per_item
from appliance.resources import Connection, PrivateKey, Resource, Setting, SharedSecret, TunnelLink, Unit
from appliance.route import Route
from router.document import EspProposal, IkeProposal, RouterDocument, Tunnel
from router.document.ipsec import is_aead
from router.listening import Listener

SHARED_LINK = "ipsec0"
_SHARED_NUMBER = 65535
UNIT = "sysvm-charon.service"
MTU = 1400
"""Room for ESP with any cipher in UDP over IPv6, on a path that takes 1,500."""
_ESP = 50
_IKE_PORTS = ((500, 500), (4500, 4500))

_IKE2 = [IkeProposal(encryption="aes256gcm16", hash="sha256", group="ecp256")]
_IKE = [IkeProposal(encryption="aes256", hash="sha256", group="modp2048")]
_ESPS = [
    EspProposal(encryption="aes256gcm16", group="ecp256"),
    EspProposal(encryption="aes256", hash="sha256", group="modp2048"),
]


def resources(document: RouterDocument) -> Iterator[Resource]:
    if document.ipsec or document.remote_access is not None:
        yield TunnelLink(name=SHARED_LINK, number=_SHARED_NUMBER, mtu=MTU)
        yield Unit(name=UNIT)
    for name, tunnel in document.ipsec.items():
        yield from _tunnel(tunnel, name)


@per_item
def _tunnel(tunnel: Tunnel, name: str) -> tuple[Resource, ...]:
    return tuple(_made(tunnel, name))


def _made(tunnel: Tunnel, name: str) -> Iterator[Resource]:
    if tunnel.link is not None:
        yield TunnelLink(name=tunnel.link, number=_number(tunnel.link), mtu=MTU)
    for subnet in tunnel.remote_subnets:
        yield Route(destination=subnet, link=tunnel.link or SHARED_LINK)
    remote_id = remote_identity(tunnel)
    if tunnel.psk is not None:
        # By the peer's identities only: by the router's own, one tunnel's key would do for another's peer.
        # In main mode the key is needed before an identity is told, so the address is one.
        owners = dict.fromkeys(filter(None, (remote_id, tunnel.remote_address)))
        yield SharedSecret(kind="IKE", name=name, owners=tuple(owners), value=tunnel.psk.get_secret_value())
    if tunnel.certificate is not None:
        yield PrivateKey(name=name, value=tunnel.certificate.private_key.get_secret_value())
    yield Connection(
        name=name,
        settings=_settings(tunnel),
        link=tunnel.link or SHARED_LINK,
        initiate=not tunnel.passive and tunnel.remote_address is not None,
    )


def remote_identity(tunnel: Tunnel) -> str | None:
    return tunnel.remote_id or tunnel.remote_address


def _number(link: str | None) -> int:
    return _SHARED_NUMBER if link is None else int(link.removeprefix("vpn")) + 1


def _settings(tunnel: Tunnel) -> dict[str, Setting]:
    lifetime = tunnel.ike.lifetime_seconds
    local: dict[str, Setting] = {"auth": "psk", "id": tunnel.local_id or tunnel.local_address}
    remote: dict[str, Setting] = {"auth": "psk", "id": remote_identity(tunnel) or "%any"}
    if tunnel.certificate is not None:
        local |= {"auth": "pubkey", "certs": [tunnel.certificate.certificate]}
        remote |= {"auth": "pubkey", "cacerts": [tunnel.certificate.peer_authority]}
    number = str(_number(tunnel.link))
    return {
        "version": str(tunnel.version),
        "local_addrs": [tunnel.local_address],
        "remote_addrs": [tunnel.remote_address or "%any"],
        "proposals": ike_texts(tunnel.ike.proposals or [*(_IKE2 if tunnel.version == 2 else []), *_IKE]),
        "rekey_time": f"{lifetime * 9 // 10}s",
        "over_time": f"{lifetime // 10}s",
        # Lost packets are the network's business, so a peer is never given up.
        "keyingtries": "0",
        "dpd_delay": f"{tunnel.dpd_seconds}s",
        "dpd_timeout": f"{tunnel.dpd_seconds * 4}s",
        "encap": _yes(tunnel.force_encapsulation),
        # The document says by which of its addresses the router is spoken to.
        "mobike": "no",
        "send_cert": "always",
        "if_id_in": number,
        "if_id_out": number,
        "local-1": local,
        "remote-1": remote,
        "children": dict(_children(tunnel)),
    }


def _children(tunnel: Tunnel) -> Iterator[tuple[str, Setting]]:
    active = not tunnel.passive and tunnel.remote_address is not None
    lifetime = tunnel.esp.lifetime_seconds
    settings: dict[str, Setting] = {
        "esp_proposals": esp_texts(tunnel.esp.proposals or _ESPS),
        "rekey_time": f"{lifetime * 9 // 10}s",
        "life_time": f"{lifetime}s",
        "start_action": "start" if active else "none",
        "close_action": "start" if active else "none",
        "dpd_action": "restart" if active else "clear",
    }
    if tunnel.link is not None:
        versions = {":" in subnet for subnet in tunnel.remote_subnets}
        anything = [network for network in ("0.0.0.0/0", "::/0") if (":" in network) in versions]
        # IKEv1 negotiates one network at a time.
        each = [anything] if tunnel.version == 2 else [[network] for network in anything]
        for number, networks in enumerate(each):
            yield f"net{number}", {**settings, "local_ts": networks, "remote_ts": networks}
    elif tunnel.split_subnets or tunnel.version == 1:
        for number, (local, remote) in enumerate(pairs(tunnel.local_subnets, tunnel.remote_subnets)):
            yield f"net{number}", {**settings, "local_ts": [local], "remote_ts": [remote]}
    else:
        yield "net", {**settings, "local_ts": tunnel.local_subnets, "remote_ts": tunnel.remote_subnets}


def pairs(local: Sequence[str], remote: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each network of the one side with each of the other's of the same family."""
    for one, other in product(local, remote):
        if (":" in one) == (":" in other):
            yield one, other


def ike_texts(proposals: Sequence[IkeProposal]) -> list[str]:
    return [
        f"{item.encryption}-{'prf' if is_aead(item.encryption) else ''}{item.hash}-{item.group}"
        for item in proposals
    ]


def esp_texts(proposals: Sequence[EspProposal]) -> list[str]:
    return ["-".join(filter(None, (item.encryption, item.hash, item.group))) for item in proposals]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def listeners(document: RouterDocument) -> Iterator[Listener]:
    """Where peers speak to the router: IKE, ESP in UDP and ESP itself."""
    addresses = {
        tunnel.local_address: ("ipsec", name, "local_address") for name, tunnel in document.ipsec.items()
    }
    if (access := document.remote_access) is not None:
        for way in ("ikev2", "l2tp"):
            if (server := getattr(access, way)) is not None:
                addresses.setdefault(server.address, ("remote_access", way, "address"))
    for address, at in sorted(addresses.items()):
        for ports in _IKE_PORTS:
            yield Listener(address=address, protocol=17, ports=ports, open=True, at=at)
        yield Listener(address=address, protocol=_ESP, open=True, at=at)
