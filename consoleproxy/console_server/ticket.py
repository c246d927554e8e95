"""Tickets: what the management plane signs, so that one browser may see one console.

A ticket is a JSON Web Token (RFC 7519) signed with Ed25519 (RFC 8037); no other algorithm is read. Its
claims:

| claim | what |
|---|---|
| `aud` | the proxy's name |
| `sub` | the user, for logs and limits |
| `console` | the console's name in the document |
| `rights` | of `view`, `control`, `clipboard` |
| `exp`, `nbf` | seconds since 1970; `nbf` may be left out |
| `jti` | a nonce: the ticket is taken once |
| `client` | the browser's address, if it is bound to that |
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MOST_CHARACTERS = 4096
RIGHTS = ("view", "control", "clipboard")
LONGEST_SECONDS = 3600
"""A ticket that is good for longer isn't short-lived, and isn't taken."""
_SKEW_SECONDS = 5
_PART = re.compile(r"[A-Za-z0-9_-]+")


class TicketError(Exception):
    """A ticket that isn't good. `code` is a word for programs; the text is for whoever reads the log."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    nonce: str
    user: str
    console: str
    rights: frozenset[str]
    expires: float
    """Seconds since 1970."""
    client: str | None = None


def read(
    text: str, *, keys: Mapping[str, Ed25519PublicKey], audience: str, now: float, client: str
) -> Ticket:
    """The ticket of `client`, an address. Raises TicketError; whether it was taken isn't known here."""
    claims = _claims(text, keys)
    try:
        ticket = _ticket(claims)
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        begins = _seconds(claims.get("nbf", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise TicketError("ticket-invalid", f"claims: {error!r}") from None
    if audience not in audiences:
        raise TicketError("ticket-foreign", "it is for another proxy")
    if ticket.expires <= now:
        raise TicketError("ticket-expired", "it has expired")
    if ticket.expires > now + LONGEST_SECONDS or begins > now + _SKEW_SECONDS:
        raise TicketError("ticket-invalid", "its times are out of bounds")
    if ticket.client is not None and not same_address(ticket.client, client):
        raise TicketError("ticket-elsewhere", "it is bound to another address")
    return ticket


def _claims(text: str, keys: Mapping[str, Ed25519PublicKey]) -> Mapping[str, Any]:
    parts = text.split(".") if len(text) <= MOST_CHARACTERS else []
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise TicketError("ticket-invalid", "it isn't three parts of base64")
    try:
        head, claims = _object(parts[0]), _object(parts[1])
        signature = _decoded(parts[2])
    except (ValueError, RecursionError):
        raise TicketError("ticket-invalid", "its parts can't be read") from None
    if head.get("alg") != "EdDSA" or "crit" in head:
        raise TicketError("ticket-invalid", "its algorithm isn't EdDSA")
    issuer = head.get("kid")
    tried = [keys[issuer]] if isinstance(issuer, str) and issuer in keys else []
    if issuer is None:
        tried = list(keys.values())
    signed = f"{parts[0]}.{parts[1]}".encode()
    for key in tried:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            continue
        return claims
    raise TicketError("ticket-foreign", "nobody known has signed it")


def _object(part: str) -> Mapping[str, Any]:
    value = json.loads(_decoded(part))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _decoded(part: str) -> bytes:
    try:
        value = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if _encoded(value) != part:
        # The last character has bits to spare: a ticket has one form only.
        raise ValueError("not canonical")
    return value


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _ticket(claims: Mapping[str, Any]) -> Ticket:
    rights = claims["rights"]
    if not isinstance(rights, list) or not rights or not all(right in RIGHTS for right in rights):
        raise ValueError("rights")
    client = claims.get("client")
    return Ticket(
        nonce=_text(claims["jti"], 128),
        user=_text(claims["sub"], 256),
        console=_text(claims["console"], 256),
        rights=frozenset(rights) | {"view"},
        expires=_seconds(claims["exp"]),
        client=None if client is None else _text(client, 64),
    )


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise ValueError("text")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        raise ValueError("time")
    return float(value)


def same_address(one: str, other: str) -> bool:
    try:
        return _plain(one) == _plain(other)
    except ValueError:
        return False


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; an IPv4 one also where a socket for both families shows it as `::ffff:192.0.2.1`."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def sign(key: Ed25519PrivateKey, claims: Mapping[str, object], *, issuer: str | None = None) -> str:
    """A ticket with these claims, as the management plane makes one."""
    head: dict[str, str] = {"alg": "EdDSA", "typ": "JWT"} | ({"kid": issuer} if issuer else {})
    signed = ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    return f"{signed}.{_encoded(key.sign(signed.encode()))}"
