"""Which addresses may be asked. A name is looked up once, and it is the checked address that is connected
to: a name that leads elsewhere a moment later (DNS rebinding) leads nowhere."""

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import dns.exception
import dns.resolver

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_LOOK_UP_SECONDS = 10.0
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedAddressError(Exception):
    """An address, or a port, that downloads don't go to."""


class UnknownHostError(Exception):
    """A name that nobody knows now."""


@dataclass(frozen=True)
class Policy:
    allowed: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    """Special networks that may be asked all the same."""
    ports: frozenset[int]
    resolvers: tuple[str, ...] = ()

    @classmethod
    def of(cls, networks: Sequence[str], ports: Sequence[int], resolvers: Sequence[str] = ()) -> "Policy":
        return cls(tuple(map(ipaddress.ip_network, networks)), frozenset(ports), tuple(resolvers))

    def check_port(self, port: int) -> None:
        if port not in self.ports:
            raise RefusedAddressError(f"Port {port} isn't one that downloads may use")

    def check(self, text: str) -> str:
        """The address as it is connected to. Raises RefusedAddressError."""
        address = meant(ipaddress.ip_address(text))
        if any(address in network for network in self.allowed if network.version == address.version):
            return text
        if not address.is_global or address.is_multicast or address.is_reserved or is_own(str(address)):
            raise RefusedAddressError(f"{text} is private, link-local or otherwise special")
        return text

    def check_literal(self, host: str) -> None:
        """Of a proxy's target: a name is the proxy's to look up."""
        if (address := literal(host)) is not None:
            self.check(str(address))

    def addresses(self, host: str) -> list[str]:
        """Where a host may be asked; all of its addresses have to be allowed. Raises RefusedAddressError,
        UnknownHostError."""
        address = literal(host)
        found = [str(address)] if address is not None else self.looked_up(host)
        if not found:
            raise UnknownHostError(f"{host} has no address")
        return [self.check(address) for address in found]

    def looked_up(self, host: str) -> list[str]:
        if not self.resolvers:
            try:
                answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except OSError as error:
                raise UnknownHostError(f"{host}: {error}") from None
            return list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = list(self.resolvers)
        found: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                answer = resolver.resolve(host, kind, lifetime=_LOOK_UP_SECONDS, search=False)
            except dns.resolver.NoAnswer:
                continue
            except dns.exception.DNSException as error:
                if found:
                    break
                raise UnknownHostError(f"{host}: {error}") from None
            found += [item.to_text() for item in answer]
        return found


def literal(host: str) -> IpAddress | None:
    """The address that a host is; None: it is a name. What libraries of C take for an address (`127.1`,
    `0x7f000001`) is one here, too: `inet_aton` is asked."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def meant(address: IpAddress) -> IpAddress:
    """The IPv4 address in an IPv6 one that leads there."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_own(address: str) -> bool:
    """Whether it is this machine's: who is asked there sees a request from itself."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as trying:
        try:
            trying.bind((address, 0))
        except OSError:
            return False
    return True
