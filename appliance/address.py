"""Addresses, ports and names as documents write them: text in its one canonical form.

They stay `str` because tens of thousands of them are compared, hashed and printed, and because a
document read back must equal the document sent.
"""

import ipaddress
import re
import socket
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_PORTS = re.compile(r"^([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?$")


def _mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise ValueError("must be a MAC address in lower case, like 02:00:5e:00:53:01")
    if int(text[1], 16) & 1:
        raise ValueError("must be a unicast MAC address")
    return text


def _canonical(text: str, parsed: object, what: str) -> str:
    if "%" in text:
        # A zone (RFC 4007) may be any text, and means something on one machine only.
        raise ValueError(f"must be {what} without a zone")
    if str(parsed) != text:
        raise ValueError(f"must be {what} in its canonical form, {parsed}")
    return text


def _ip(text: str) -> str:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an IP address") from None
    return _canonical(text, parsed, "an IP address")


def _ipv4(text: str) -> str:
    try:
        # Takes four decimal numbers without leading zeros, and is much quicker than ipaddress.
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        raise ValueError("must be an IPv4 address") from None
    return text


def _network(text: str) -> str:
    try:
        return _canonical(text, ipaddress.ip_network(text), "a network")
    except ValueError as error:
        raise ValueError(f"must be a network like 10.1.0.0/16, without host bits ({error})") from None


def _ip_or_network(text: str) -> str:
    return _network(text) if "/" in text else _ip(text)


def _ipv4_network(text: str) -> str:
    try:
        return _canonical(text, ipaddress.IPv4Network(text), "a network")
    except ValueError as error:
        raise ValueError(f"must be an IPv4 network like 10.1.0.0/16, without host bits ({error})") from None


def _interface_address(text: str) -> str:
    try:
        return _canonical(text, ipaddress.ip_interface(text), "an address with its prefix length")
    except ValueError as error:
        raise ValueError(f"must be an address with its prefix length, like 10.1.1.1/24 ({error})") from None


def _ports_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _ports(text: str) -> str:
    match = _PORTS.fullmatch(text)
    if not match:
        raise ValueError("must be a port or a range of ports, like 80 or 8000-8010")
    first, last = int(match[1]), int(match[2] or match[1])
    if last > 65535 or first > last or (match[2] and first == last):
        raise ValueError("must be a port or a rising range of ports between 1 and 65535")
    return text


_TEXT_PORTS = r"^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$"
_PORTS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": _TEXT_PORTS},
    ],
    "description": "A port, or a range of ports like 8000-8010",
}
MacAddress = Annotated[
    str, AfterValidator(_mac), WithJsonSchema({"type": "string", "pattern": _MAC.pattern})
]
IpAddress = Annotated[str, AfterValidator(_ip)]
Ipv4Address = Annotated[str, AfterValidator(_ipv4)]
Network = Annotated[str, AfterValidator(_network)]
"""A CIDR of either family, without host bits."""
IpAddressOrNetwork = Annotated[str, AfterValidator(_ip_or_network)]
Ipv4Network = Annotated[str, AfterValidator(_ipv4_network)]
InterfaceAddress = Annotated[str, AfterValidator(_interface_address)]
Ports = Annotated[str, BeforeValidator(_ports_text), AfterValidator(_ports), WithJsonSchema(_PORTS_SCHEMA)]
"""`80` or `8000-8010`; a JSON number is taken too."""
HostName = Annotated[str, Field(pattern=rf"^{_LABEL}$", max_length=63)]
"""One DNS label (RFC 1123), in lower case."""
DOMAIN = rf"{_LABEL}(\.{_LABEL})*"
DomainName = Annotated[str, Field(pattern=rf"^{DOMAIN}$", max_length=253)]
InterfaceName = Annotated[str, Field(pattern=r"^[a-z]{1,10}[0-9]{1,3}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,62})$")]
"""The key of a rule, a forward, a route: what people and logs call it by."""


def port_range(ports: str) -> tuple[int, int]:
    """First and last port of a `Ports` text."""
    first, _, last = ports.partition("-")
    return int(first), int(last or first)


def ipv4_int(address: str) -> int:
    """The address as a number; several times quicker than `ipaddress` for already validated text."""
    a, b, c, d = address.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


def span(network: str) -> tuple[int, int]:
    """First and last address of a CIDR (or a single address) of either family, as numbers."""
    if ":" not in network:
        return ipv4_span(network)
    address, _, length = network.partition("/")
    size = 1 << (128 - int(length or 128))
    first = int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big") & -size
    return first, first + size - 1


def ipv4_span(network: str) -> tuple[int, int]:
    """First and last address of an IPv4 CIDR (or a single address), as numbers."""
    address, _, length = network.partition("/")
    size = 1 << (32 - int(length or 32))
    first = ipv4_int(address) & -size
    return first, first + size - 1
