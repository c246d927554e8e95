"""Sources: where downloads may come from, and how."""

from typing import Annotated

from pydantic import Field

from appliance.address import DOMAIN, IpAddress, Name, Network
from appliance.model import Keyed, Model, SecretLine

Port = Annotated[int, Field(ge=1, le=65535)]
CERTIFICATES = r"^(-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n)+$"  # RFC 7468


class Proxy(Model):
    """An HTTP proxy that all downloads go through (RFC 9110, CONNECT). It looks names up itself: which
    addresses may be asked is then the proxy's to say, but for literal ones."""

    host: Annotated[str, Field(pattern=rf"^({DOMAIN}|[0-9a-f:]*:[0-9a-f:]*)$", max_length=253)]
    port: Port
    credential: Name | None = None


class Credential(Model):
    """What a server or proxy asks for (RFC 7617). Jobs name it, so no job has a secret in it."""

    user: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f:]{1,255}$")]
    password: SecretLine
    hosts: Annotated[
        list[Annotated[str, Field(pattern=rf"^({DOMAIN}|[0-9a-f:]*:[0-9a-f:]*)$", max_length=253)]],
        Field(max_length=64),
    ]
    """Who is told it; a redirect to anybody else isn't."""


class Authority(Model):
    """A certificate authority that is trusted besides the usual ones."""

    certificates: Annotated[str, Field(pattern=CERTIFICATES, max_length=1 << 18)]
    """PEM."""


class Sources(Model):
    resolvers: Annotated[list[IpAddress], Field(max_length=4)] = []
    """DNS servers that know the sources' names."""
    allowed_networks: Annotated[list[Network], Field(max_length=256)] = []
    """Of private, link-local and other special addresses (RFC 6890) those that downloads may come from all
    the same. Any other address of theirs is refused, whatever name it hides behind."""
    ports: Annotated[list[Port], Field(min_length=1, max_length=64)] = [80, 443, 8080, 8443]
    proxy: Proxy | None = None
    credentials: Keyed[Name, Credential] = {}
    authorities: Keyed[Name, Authority] = {}
