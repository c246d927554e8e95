"""URLs, as far as downloads go by them (RFC 3986)."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(r"[\x21-\x7e]+")


class UrlError(ValueError):
    """What is wrong with a URL; it isn't in the words, for there may be a secret in it."""


@dataclass(frozen=True)
class Url:
    scheme: str
    host: str
    """In lower case, IPv6 without brackets."""
    port: int
    target: str
    """Path and query, as they are sent."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def shown(self) -> str:
        """Without the query, which may be a signature."""
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"


def check(text: str) -> Url:
    """Raises UrlError."""
    if not _PLAIN.fullmatch(text) or "\\" in text:
        raise UrlError("must be a URL of ASCII without spaces; others are escaped (RFC 3986)")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UrlError("must be a URL with a valid host and port") from None
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise UrlError("must be a URL of http or https")
    if "@" in parts.netloc:
        raise UrlError("must have no user or password in it: jobs name a credential of the document")
    if parts.fragment:
        raise UrlError("must have no fragment")
    host = (parts.hostname or "").rstrip(".")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,252})|[0-9a-f:.]*:[0-9a-f:.]*", host):
        raise UrlError("must have a host name or an address")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{parts.query}" if parts.query else ""
    return Url(scheme, host, PORTS[scheme] if port is None else port, target + query)
