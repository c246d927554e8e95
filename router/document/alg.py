"""Application level gateways (RFC 2663), connection tracking's helpers: for protocols that tell each other,
within one connection, of further ones."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.model import Model

AlgName = Literal["ftp", "pptp", "sip", "tftp"]


class Alg(Model):
    """What a connection says of further ones is read: these are translated as it is, and let through for it.

    Off unless it is named here: it believes what guests and their peers say, and opens ports for it.
    Connections that are encrypted say nothing to it."""

    ports: (
        Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(min_length=1, max_length=8)] | None
    ) = None
    """Where such connections are made to, as who begins them has it: of a port forward that is the public
    port. Absent: what IANA assigned: ftp (RFC 959) 21, pptp (RFC 2637) 1723, sip (RFC 3261) 5060 by TCP and
    UDP, tftp (RFC 1350) 69 by UDP."""
