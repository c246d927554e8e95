"""The console proxy's document. Every section is keyed so that a merge patch can name one item of it: a
guest that is made, moves or ends is one console that comes, changes or goes."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.address import Name, Network
from appliance.document import Document
from appliance.model import Keyed
from consoleproxy.document.console import Console, ConsoleName, Tls
from consoleproxy.document.listen import Certificate, Listen
from consoleproxy.document.session import Limits, PublicKey, Revoked


class ConsoleproxyDocument(Document):
    role: Literal["consoleproxy"]
    listen: Keyed[Name, Listen] = {}
    """Where browsers find the proxy. Empty: it serves nobody."""
    certificates: Keyed[Name, Certificate] = {}
    default_certificate: Name | None = None
    """Shown to whoever asks for no name that another one has."""
    issuers: dict[Name, PublicKey] = {}
    """Who signs tickets: their public keys. The name is a ticket's `kid`."""
    consoles: Keyed[ConsoleName, Console] = {}
    """By the name that tickets call them by. Nothing else is ever connected to."""
    origins: list[Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.\[\]:-]{1,255}$")]] = []
    """Other pages that may show consoles (RFC 6454): the cloud's own, with a console in a frame."""
    proxies: list[Network] = []
    """Reverse proxies in front, whose X-Forwarded-For is believed."""
    path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]{1,64}){0,4}$")] = ""
    """What a reverse proxy leaves before our paths: `/console`."""
    limits: Limits = Limits()
    revoked: Revoked = Revoked()
    draining: bool = False
    """No new sessions; those that there are end by themselves."""


__all__ = [
    "Certificate",
    "Console",
    "ConsoleName",
    "ConsoleproxyDocument",
    "Limits",
    "Listen",
    "PublicKey",
    "Revoked",
    "Tls",
]
