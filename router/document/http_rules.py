"""Rules of load balancers for HTTP requests: which servers answer, or that the client is sent on."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.address import DOMAIN, DomainName, Name
from appliance.model import Model

Port = Annotated[int, Field(ge=1, le=65535)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
HeaderValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9/._~!*+;=:@%?&-]{1,256}$")]
RequestUri = Annotated[str, Field(pattern=r"^/[A-Za-z0-9/._~!*+,;=:@%?&-]{0,1023}$")]
"""A path, maybe with a query (RFC 3986)."""
RulePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9/._~!*+,;=:@%&-]{0,1023}$")]
RuleHost = Annotated[str, Field(pattern=rf"^(\*\.)?{DOMAIN}$", max_length=253)]


class Redirect(Model):
    """The client is told to ask elsewhere: what is absent here stays as it asked."""

    scheme: Literal["http", "https"] | None = None
    host: DomainName | None = None
    port: Port | None = None
    """Absent: the usual one of `scheme`; without that, the load balancer's."""
    path: RequestUri | None = None
    """In place of the whole path and query."""
    status: Literal[301, 302, 303, 307, 308] = 302
    """301 and 308 are remembered by clients; with 307 and 308 they send a POST again as one (RFC 9110,
    section 15.4)."""


class HttpRule(Model):
    """What becomes of requests that agree with all of `hosts`, `paths` and `headers`: `group` or `redirect`,
    one of the two. The first rule that a request agrees with decides."""

    number: Annotated[int, Field(ge=1, le=65535)]
    """The rule's place: lower ones are asked first."""
    hosts: Annotated[list[RuleHost], Field(max_length=100)] = []
    """Any of these; `*.example.org` is every name below example.org. Empty: all. Of the request's Host,
    without its port."""
    paths: Annotated[list[RulePath], Field(max_length=100)] = []
    """Any of these and what is below it: `/shop` is `/shop` and `/shop/cart`, but not `/shopping`. Empty:
    all. As the client sent it: nothing is decoded."""
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=16)] = {}
    """Each of these, with this value or, among several with commas between, one that is."""
    group: Name | None = None
    """Of `groups`."""
    redirect: Redirect | None = None
