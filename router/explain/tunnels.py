"""What makes the elements of tunnels' sets: peers of WireGuard, networks of IPsec, remote users."""

from collections.abc import Iterator, Sequence

from appliance.address import span
from appliance.model import pointer
from router import remote_access, wireguard
from router.document import RouterDocument
from router.explain.made import Made, Maker


def _peers(document: RouterDocument) -> Iterator[Made]:
    for link, section in document.wireguard.items():
        out = {_version(address): number for number, address in enumerate(section.source_nat)}
        for name, peer in section.peers.items():
            at = pointer("wireguard", link, "peers", name)
            for network in peer.allowed_ips:
                version = _version(network)
                for towards in wireguard.reach(document, section, peer):
                    place = f"reach_{towards}_{version}"
                    yield Made(f"saddr @{place}", {"source": span(network)}, at)
                    yield Made(f"daddr @{place}", {"destination": span(network)}, at)
                if version in out:
                    where = pointer("wireguard", link, "source_nat", out[version])
                    yield Made(f"peers_source_nat{version}", {"source": span(network)}, where)


def _pairs(document: RouterDocument) -> Iterator[Made]:
    for name, tunnel in document.ipsec.items():
        yield from _between(tunnel.local_subnets, tunnel.remote_subnets, ("ipsec", name, "remote_subnets"))
    access = document.remote_access
    if access is not None:
        pools: dict[str, tuple[str | int, ...]] = {
            network: ("remote_access", "pool", number) for number, network in enumerate(access.pool)
        }
        if access.l2tp is not None:
            pools[access.l2tp.pool] = ("remote_access", "l2tp", "pool")
        own = remote_access.by_user(access)
        for network, at in pools.items():
            for near in remote_access.negotiated(document, access):
                # Whose address it is, the document doesn't say.
                yield from _pair(near, network, *(("user_pairs", ("remote_access", "users")) if own
                                                  else ("tunnel_pairs", at)))  # fmt: skip


def _between(here: Sequence[str], there: Sequence[str], at: tuple[str, ...]) -> Iterator[Made]:
    for number, far in enumerate(there):
        for near in here:
            yield from _pair(near, far, "tunnel_pairs", (*at, number))


def _pair(near: str, far: str, name: str, at: tuple[str | int, ...]) -> Iterator[Made]:
    if (":" in near) == (":" in far):
        place, where = f"{name}{_version(far)}", pointer(*at)
        # (network here, network there): from there, and from here.
        yield Made(f"saddr @{place}", {"destination": span(near), "source": span(far)}, where)
        yield Made(f"daddr @{place}", {"source": span(near), "destination": span(far)}, where)


def _users(document: RouterDocument) -> Iterator[Made]:
    access = document.remote_access
    if access is None or not access.full_tunnel:
        return
    for network in access.pool:
        users = {"source": span(network)}
        yield Made(f"tunnel_users{_version(network)}", users, pointer("remote_access", "full_tunnel"))
        if access.source_nat is not None and ":" not in network:
            yield Made("tunnel_source_nat", users, pointer("remote_access", "source_nat"))


def _version(text: str) -> int:
    return 6 if ":" in text else 4


MAKERS: list[Maker] = [_peers, _pairs, _users]
