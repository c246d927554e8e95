"""A remote user's end of a tunnel: the peer that the document gets, and what the user's WireGuard reads."""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from router.document import RouterDocument, WireGuard
from router.network import GUEST, guest_networks
from router.wireguard import behind, pools, reach


class NoAddressError(LookupError):
    """A pool without a free address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    private_key: str = field(repr=False)
    public_key: str
    preshared_key: str = field(repr=False)
    """Empty: none."""
    addresses: tuple[str, ...]
    """With the prefix length of a single one, one of each pool."""
    persistent_keepalive: int
    """Seconds; 0: none. Of the user's end, which is the one behind a NAT."""

    def peer(self) -> dict[str, object]:
        """What the document says of it, as JSON values."""
        found: dict[str, object] = {"public_key": self.public_key, "allowed_ips": list(self.addresses)}
        if self.preshared_key:
            found["preshared_key"] = self.preshared_key
        return found


def free_addresses(section: WireGuard) -> tuple[str, ...]:
    """The first address of each pool that is nobody's. Raises NoAddressError."""
    taken = [
        ipaddress.ip_network(network) for peer in section.peers.values() for network in peer.allowed_ips
    ]
    own = {ipaddress.ip_interface(address).ip for address in section.addresses}
    found = []
    for pool in pools(section):
        spans = sorted(
            (int(network.network_address), int(network.broadcast_address))
            for network in taken
            if network.version == pool.version
        )
        free = next((one for one in _candidates(pool, spans) if one not in own), None)
        if free is None:
            raise NoAddressError(f"The pool {pool} has no free address")
        found.append(f"{free}/{free.max_prefixlen}")
    return tuple(found)


def _candidates(
    pool: ipaddress.IPv4Network | ipaddress.IPv6Network, spans: Sequence[tuple[int, int]]
) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Addresses of hosts, rising, that are in none of these spans."""
    for number in range(1, pool.num_addresses - (1 if pool.version == 4 else 0)):
        address = pool[number]
        if not any(first <= int(address) <= last for first, last in spans):
            yield address


def destinations(document: RouterDocument, section: WireGuard, *, everything: bool) -> list[str]:
    """What the user's end sends into the tunnel: the pool and what the peer may reach; all there is where
    the tunnel leads out to the internet and `everything` is wanted."""
    families = {6 if ":" in address else 4 for address in section.source_nat} if everything else set()
    networks = list(pools(section))
    for link in reach(document, section):
        if link.startswith(GUEST):
            addresses = document.interfaces[link].addresses
            networks += [ipaddress.ip_interface(address).network for address in addresses]
        elif link in document.wireguard:
            other = document.wireguard[link]
            networks += [*pools(other), *map(ipaddress.ip_network, behind(other))]
    found = ["0.0.0.0/0"] if 4 in families else []
    found += ["::/0"] if 6 in families else []
    return found + list(
        dict.fromkeys(str(network) for network in networks if network.version not in families)
    )


def name_servers(document: RouterDocument, section: WireGuard) -> list[str]:
    """The router's own, which the user is answered by: those of guest networks that he may reach and that
    know other names, too, for all of the user's questions go there."""
    return [
        network.address
        for network in guest_networks(document)
        if network.link in reach(document, section)
        and (names := document.dns.get(network.link)) is not None
        and names.upstreams
    ]


def config(
    document: RouterDocument, tunnel: str, client: Client, *,
    public_key: str, endpoint: str = "", dns: Sequence[str] | None = None, everything: bool = True,
) -> str:  # fmt: skip
    """The user's file for wg-quick(8) or a WireGuard app. `public_key` is the tunnel's; `endpoint`
    HOST:PORT, or where the tunnel listens; `dns` the user's servers, or those of `name_servers`."""
    section = document.wireguard[tunnel]
    if dns is None:
        dns = name_servers(document, section)
    address = section.listen.addresses[0]
    listening = (
        f"[{address}]:{section.listen.port}" if ":" in address else f"{address}:{section.listen.port}"
    )
    lines = ["[Interface]", f"PrivateKey = {client.private_key}", f"Address = {', '.join(client.addresses)}"]
    lines += [f"DNS = {', '.join(dns)}"] if dns else []
    lines += [f"MTU = {section.mtu}", "", "[Peer]", f"PublicKey = {public_key}"]
    lines += [f"PresharedKey = {client.preshared_key}"] if client.preshared_key else []
    lines += [f"Endpoint = {endpoint or listening}"]
    lines += [f"AllowedIPs = {', '.join(destinations(document, section, everything=everything))}"]
    lines += [f"PersistentKeepalive = {client.persistent_keepalive}"] if client.persistent_keepalive else []
    return "\n".join(lines) + "\n"
