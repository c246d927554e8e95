"""What the engine writes for the daemon: one JSON file."""

import base64
import ipaddress
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True, slots=True)
class Console:
    """One guest's console, and how it is reached. Nothing else is ever reached."""

    name: str
    title: str
    kind: Literal["vnc", "text"]
    host: str = ""
    port: int = 0
    socket: str = ""
    """A unix socket, in place of host and port."""
    user: str = ""
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    tls_name: str = ""
    transport: Literal["plain", "tls", "connect", "websocket"] = "plain"
    """What is under RFB or text: `tls` from the first byte on; an HTTP CONNECT tunnel; a WebSocket."""
    path: str = ""
    """Of the tunnel or the WebSocket, with its query."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    viewers: int = 16
    available: bool = True
    """Whether the guest runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listen:
    address: str
    port: int
    tls: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    sessions: int = 2000
    sessions_per_user: int = 50
    idle_seconds: float = 1800.0
    session_seconds: float = 43_200.0
    grace_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Revoked:
    tickets: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    name: str
    keys: Mapping[str, Ed25519PublicKey]
    consoles: Mapping[str, Console]
    listen: tuple[Listen, ...]
    certificate: str = ""
    """A file with the certificate, its chain and its key, for whoever names no other."""
    certificates: Mapping[str, str] = field(default_factory=dict)
    """By host name."""
    origins: frozenset[str] = frozenset()
    proxies: tuple[IpNetwork, ...] = ()
    """Who may say in X-Forwarded-For for whom a request is."""
    path: str = ""
    """What a proxy in front leaves before our paths."""
    limits: Limits = Limits()
    revoked: Revoked = Revoked()
    draining: bool = False


def load(path: Path) -> Settings:
    """Raises OSError, ValueError, KeyError, TypeError; the message has nothing of the file in it."""
    value = json.loads(path.read_text())
    return Settings(
        name=value["name"],
        keys={
            name: Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
            for name, key in value["issuers"].items()
        },
        consoles={name: _console(name, each) for name, each in value["consoles"].items()},
        listen=tuple(Listen(**each) for each in value["listen"]),
        certificate=value.get("certificate", ""),
        certificates=value.get("certificates", {}),
        origins=frozenset(value.get("origins", ())),
        proxies=tuple(ipaddress.ip_network(each) for each in value.get("proxies", ())),
        path=value.get("path", ""),
        limits=Limits(**value.get("limits", {})),
        revoked=Revoked(**{kind: frozenset(each) for kind, each in value.get("revoked", {}).items()}),
        draining=value.get("draining", False),
    )


def _console(name: str, value: Mapping[str, Any]) -> Console:
    given = dict(value)
    url = given.pop("url", None)
    if url is not None:
        parts = urlsplit(url)
        tls = parts.scheme in ("https", "wss")
        given["host"] = parts.hostname or ""
        given["port"] = parts.port or (443 if tls else 80)
        given["path"] = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls_given = given.pop("tls", None)
    context = None if tls_given is None else _context(tls_given)
    if tls_given is not None:
        given["tls_name"] = tls_given.get("name") or given.get("host", "")
    return Console(name=name, tls=context, **given)


_contexts: dict[str, ssl.SSLContext] = {}


def _context(tls: Mapping[str, str]) -> ssl.SSLContext:
    """One for all consoles with the same authority: a context is some 100 KB."""
    authority = tls["ca"]
    if authority not in _contexts:
        context = ssl.create_default_context(cadata=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _contexts[authority] = context
    return _contexts[authority]
