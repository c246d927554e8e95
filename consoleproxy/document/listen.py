"""Where browsers find the proxy, and what proves that it is the one."""

from typing import Annotated

from pydantic import Field

from appliance.address import IpAddress
from appliance.model import Model, Secret

HostPattern = Annotated[str, Field(pattern=r"^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class Listen(Model):
    address: IpAddress
    """One of the appliance's own."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 443
    tls: bool = True
    """False: plain HTTP, for a reverse proxy that has the TLS."""


class Certificate(Model):
    names: list[HostPattern] = []
    """Host names it is shown for (SNI, RFC 6066); `*.example.org` are all of one label more."""
    certificate: Annotated[str, Field(max_length=65_536)]
    """PEM (RFC 7468): the proxy's own and then the intermediate ones."""
    key: Secret
    """Its private key, not encrypted."""
