"""Load balancers: an address and port of the router's own, and the servers behind it."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from appliance.address import DomainName, IpAddress, Name, Network
from appliance.model import Keyed, Model, Secret
from router.document.http_rules import HeaderName, HttpRule, Port, RequestUri

Seconds = Annotated[float, Field(ge=0.1, le=86400)]
"""Rounded to milliseconds."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]
PEM = re.compile(
    r"^(-----BEGIN [A-Z0-9 ]+-----\n([A-Za-z0-9+/=]{1,76}\n)+-----END [A-Z0-9 ]+-----(\n+|$))+$"
)
"""What OpenSSL reads, without text around it. Encrypted keys have headers in it, too."""
_KEY = r"[A-Za-z0-9+/=:,\n -]+"
_MOST_PEM = 65536


def _pem(secret: Secret) -> Secret:
    text = secret.get_secret_value()
    if len(text) > _MOST_PEM or not re.fullmatch(_KEY, text):
        raise ValueError("must be PEM (RFC 7468), and nothing else")
    return secret


Pem = Annotated[str, Field(pattern=PEM.pattern, max_length=_MOST_PEM)]
"""RFC 7468, without text around it."""
SecretPem = Annotated[Secret, AfterValidator(_pem)]
CookieName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_STATUS = "[1-5][0-9]{2}(-[1-5][0-9]{2})?"
Statuses = Annotated[str, Field(pattern=rf"^{_STATUS}(,{_STATUS})*$", max_length=100)]


class Certificate(Model):
    """What a load balancer shows its clients, as PEM (RFC 7468)."""

    certificate: Pem
    """The server's own."""
    key: SecretPem
    """Its private key, not encrypted."""
    chain: Pem | None = None
    """Intermediate certificates, each followed by the one that issued it."""


class Timeouts(Model):
    """In seconds; what is absent is as `load_balancing` says."""

    connect: Seconds | None = None
    """For a server to accept the connection."""
    client: Seconds | None = None
    """For which a client may be silent."""
    server: Seconds | None = None
    """For which a server may be silent."""
    queue: Seconds | None = None
    """In which a server must become free that has its most connections; absent: as `connect`."""
    tunnel: Seconds | None = None
    """For which both may be silent once a connection is upgraded (WebSocket), or of a `tcp` one."""
    request: Seconds | None = None
    """http: for a request's headers to arrive."""
    keep_alive: Seconds | None = None
    """http: for the next request to come."""


class DefaultTimeouts(Model):
    connect: Seconds = 5.0
    client: Seconds = 50.0
    server: Seconds = 50.0
    queue: Seconds | None = None
    tunnel: Seconds | None = None
    request: Seconds = 10.0
    keep_alive: Seconds = 50.0


class LoadBalancing(Model):
    """What all load balancers of tcp and http have in common."""

    max_connections: Count = 20_000
    """At once, of all together; each takes about 33 kB. Of several `processes` each has an equal share."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """How many HAProxys serve load balancers of tcp and http. One that comes, changes or goes makes its own
    HAProxy take all of its load balancers anew: with hundreds of them several are quicker, each some 20 MB
    of memory. Which one is a load balancer's follows from its name, so none moves when others come or go.
    Another number moves most of them: connections that are there go on where their HAProxy does."""
    timeouts: DefaultTimeouts = DefaultTimeouts()
    end_sessions_after: Annotated[int, Field(ge=1, le=30 * 86400)] = 86400
    """Seconds that connections last, which were there before load balancers came, changed or went: the
    process that serves them ends when the last one has, or after this time."""


class Server(Model):
    address: IpAddress
    port: Port | None = None
    """Absent: the load balancer's."""
    weight: Annotated[int, Field(ge=1, le=256)] = 1
    """Its share is its weight among the sum of all weights."""
    backup: bool = False
    """Used only while no other server is there to use."""
    state: Literal["ready", "drain", "maintenance"] = "ready"
    """`drain`: nothing new comes to it but what is stuck to it. `maintenance`: nothing at all; it isn't
    checked either. Connections go on in both."""
    max_connections: Count | None = None
    """At once; others wait in a queue. Not for udp."""


class Tls(Model):
    """Connections are decrypted here. Where this is absent, `tcp` passes TLS through as it is."""

    certificates: Annotated[list[Name], Field(min_length=1, max_length=100)]
    """Of `certificates`. A client gets the one with the name it asks for (SNI, RFC 6066), else the first."""
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    http2: bool = True
    """http: clients may choose HTTP/2 (ALPN, RFC 7301)."""


class CookieStickiness(Model):
    """HAProxy's configuration manual, `cookie`."""

    name: CookieName
    mode: Literal["insert", "prefix", "rewrite"] = "insert"
    """`insert`: a cookie of our own. `prefix`: the server's name before the value of an application's own.
    `rewrite`: in place of the value of one that the application sets for this."""
    indirect: bool = True
    """insert: servers don't see the cookie."""
    nocache: bool = True
    """insert: caches are told not to keep what has the cookie in it."""
    postonly: bool = False
    """insert: only in answers to POST."""
    domain: DomainName | None = None
    """insert: the cookie's domain (RFC 6265, section 4.1.2.3)."""


class SourceStickiness(Model):
    """A client's address leads to the server it had last. udp: to the same of the same servers."""

    expire: Seconds = 1800.0
    size: Count = 200_000
    """Addresses remembered at most."""


class HeaderStickiness(Model):
    """http: the value of a request's header leads to the server that had it last."""

    name: HeaderName
    expire: Seconds = 1800.0
    size: Count = 200_000


class Stickiness(Model):
    """One of these."""

    cookie: CookieStickiness | None = None
    source: SourceStickiness | None = None
    header: HeaderStickiness | None = None


class HttpServerCheck(Model):
    path: RequestUri = "/"
    method: Literal["GET", "HEAD", "OPTIONS"] = "GET"
    host: DomainName | None = None
    """The request's Host; absent: the load balancer's address."""
    status: Statuses = "200-399"
    """What a sound server answers: `200`, `200-399`, `200,401`."""


class ServerCheck(Model):
    """How it is found out whether a server serves: by a TCP connection, or a request."""

    http: HttpServerCheck | None = None
    interval: Seconds = 2.0
    timeout: Seconds = 2.0
    fall: Annotated[int, Field(ge=1, le=100)] = 3
    """So many failures in a row and it is down."""
    rise: Annotated[int, Field(ge=1, le=100)] = 2
    """So many successes in a row and it is up again."""
    port: Port | None = None
    """Absent: the server's."""


class ServerTls(Model):
    """Connections to servers are encrypted, those of health checks, too: TLS 1.2 or newer."""

    verify: bool = True
    """Whether a server must show a certificate of `authority` for `name`; without, anybody between could
    answer in its place."""
    authority: Pem | None = None
    """Certificates of whoever issues servers theirs; itself, for a server's that nobody issued."""
    name: DomainName | None = None
    """Whose certificate is to be shown; servers are asked for it (SNI, RFC 6066)."""
    http2: bool = False
    """http: HTTP/2 with servers that offer it (ALPN, RFC 7301), HTTP/1.1 with others."""


class ServerGroup(Model):
    """Servers, and how one of them is chosen."""

    algorithm: Literal["round-robin", "least-connections", "source"] = "round-robin"
    """udp: `round-robin` is by chance, in the proportion of the weights."""
    servers: Keyed[Name, Server] = {}
    server_tls: ServerTls | None = None
    """Absent: servers are spoken to in the clear; `tcp` passes a client's own TLS on."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """Tells servers the client's address (HAProxy's PROXY protocol), which they must expect."""
    stickiness: Stickiness | None = None
    check: ServerCheck | None = None
    """Absent: servers are taken to be up."""


class LoadBalancer(ServerGroup):
    """Leads from one port of the router's to servers. What may use it from outside is the firewall's to say,
    as for a port forward. On an address of a guest interface it is an internal one."""

    address: IpAddress
    port: Port
    mode: Literal["tcp", "http", "udp"] = "tcp"
    groups: Keyed[Name, ServerGroup] = {}
    """http: further servers, which requests are led to by `rules`; `servers` get all others."""
    rules: Keyed[Name, HttpRule] = {}
    """http: what becomes of requests for some hosts, or below some paths."""
    tls: Tls | None = None
    timeouts: Timeouts = Timeouts()
    max_connections: Count | None = None
    """At once; more wait to be accepted. Absent: as `load_balancing` says for all."""
    source_cidrs: list[Network] = []
    """Only for clients in these networks; empty: for all."""
    forwarded_for: bool = True
    """http: servers get the client's address as X-Forwarded-For, and X-Forwarded-Proto."""
    keep_alive: bool = True
    """http: connections are kept for further requests."""
    transparent: bool = False
    """tcp, http: servers see connections come from the client's own address, as udp's do anyway. They are to
    answer by this router."""
