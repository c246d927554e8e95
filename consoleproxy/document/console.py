"""Consoles of guests, and the way to each."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.address import DomainName, IpAddress
from appliance.model import Model, Secret, SecretLine

ConsoleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
Title = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,128}$")]


class Tls(Model):
    """The server's certificate is always verified."""

    authority: Annotated[str, Field(max_length=65_536)]
    """PEM (RFC 7468): who issues the server its certificate, or that itself."""
    name: DomainName | None = None
    """In the server's certificate; absent: the address is."""


class Console(Model):
    title: Title | None = None
    """What viewers see; absent: the console's name."""
    kind: Literal["vnc", "text"] = "vnc"
    """RFB (RFC 6143), or the bytes of a serial port."""
    address: IpAddress | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    socket: (
        Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){1,8}$", max_length=107)] | None
    ) = None
    """A unix socket, in place of address and port."""
    transport: Literal["plain", "tls", "connect", "websocket"] = "plain"
    """What it is in: nothing; TLS; an HTTP CONNECT tunnel (XenServer's consoles); a WebSocket (VMware's
    tickets, Proxmox). The last two with `tls` where the document has it."""
    path: SecretLine | None = None
    """Of the tunnel or the WebSocket, with its query: it may have a ticket in it."""
    cookie: SecretLine | None = None
    """Cookie header of the tunnel or the WebSocket: `session_id=OpaqueRef:...`."""
    user: Annotated[str, Field(pattern=r"^[!-~]{1,255}$")] | None = None
    """VeNCrypt's X509Plain."""
    password: Secret | None = None
    """VNC authentication's (its first eight bytes count), or X509Plain's."""
    tls: Tls | None = None
    """With `plain` VNC: VeNCrypt X509, and nothing less."""
    viewers: Annotated[int, Field(ge=1, le=256)] = 16
    """Most sessions at once. Each has a connection of its own to a VNC server; a text console is shared."""
    available: bool = True
    """False: the guest is off, and viewers are told so."""
