"""One request over HTTP/1.1, redirects followed: whom it may go to is checked at every step.

The standard library's client, on a socket that was connected to a checked address: no other library lets the
address be chosen without its innards being replaced, and it reads into a buffer that is there already.
"""

import base64
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urljoin

from secstorage.download.destination import Policy, RefusedAddressError, literal
from secstorage.download.url import Url, UrlError, check

_CONNECT_SECONDS = 15.0
_SILENCE_SECONDS = 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGENT = "sysvm"


class RefusedByServerError(Exception):
    """An answer that trying again won't change."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


class TryAgainError(Exception):
    """Something that may be over in a moment. `after`: so many seconds, the server says."""

    def __init__(self, detail: str, after: float = 0.0) -> None:
        super().__init__(detail)
        self.after = after


@dataclass(frozen=True)
class Login:
    user: str
    password: str = field(repr=False)
    hosts: frozenset[str]

    @property
    def header(self) -> str:
        """RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Proxy:
    host: str
    port: int
    login: Login | None = None


@dataclass(kw_only=True)
class Web:
    """How this appliance gets to others."""

    policy: Policy
    authorities: tuple[str, ...] = ()
    proxy: Proxy | None = None
    redirects: int = 5
    opened: Callable[[socket.socket], None] = lambda sock: None
    """Told each socket, so that it can be shut down from outside."""

    def open(self, url: Url, headers: Mapping[str, str], login: Login | None = None) -> "Answer":
        """The answer to a GET, of any status but a redirect. Raises RefusedAddressError,
        RefusedByServerError, TryAgainError; OSError and http.client.HTTPException from the connection."""
        for _ in range(self.redirects + 1):
            answer = self._asked(url, headers, login)
            if answer.status not in _REDIRECTS:
                return answer
            answer.close()
            url = self._redirected(url, answer.header("Location"))
        raise RefusedByServerError(f"More than {self.redirects} redirects, the last to {url.shown}")

    def _redirected(self, url: Url, location: str) -> Url:
        try:
            target = check(urljoin(str(url), location))
        except ValueError as error:
            detail = error if isinstance(error, UrlError) else "no URL"
            raise RefusedByServerError(f"{url.shown} redirects to what {detail}") from None
        if url.scheme == "https" and target.scheme == "http":
            raise RefusedByServerError(f"{url.shown} redirects to http, where nobody proves who he is")
        return target

    def _asked(self, url: Url, headers: Mapping[str, str], login: Login | None) -> "Answer":
        sent = {"Host": url.authority, "User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        sent |= {**headers, "Connection": "close"}
        if login is not None and url.host in login.hosts:
            sent["Authorization"] = login.header
        self.policy.check_port(url.port)
        target = url.target
        if self.proxy is None:
            sock = self._connected(self.policy.addresses(url.host), url.port)
        else:
            self.policy.check_literal(url.host)
            sock = self._to_proxy(self.proxy)
            if url.scheme == "http":
                target = str(url)
                sent |= _proxy_login(self.proxy)
            else:
                _tunnel(sock, url, self.proxy)
        try:
            if url.scheme == "https":
                name = url.host if literal(url.host) is None else str(literal(url.host))
                sock = self._context().wrap_socket(sock, server_hostname=name)
                self.opened(sock)
            connection = http.client.HTTPConnection(url.host, url.port)
            connection.sock = sock
            connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            return Answer(url, connection.getresponse(), sock)
        except ssl.SSLCertVerificationError as error:
            sock.close()
            raise RefusedByServerError(f"{url.shown}: {error.verify_message}") from None
        except BaseException:
            sock.close()
            raise

    def _connected(self, addresses: list[str], port: int) -> socket.socket:
        last: OSError | None = None
        for address in addresses:
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            sock.settimeout(_CONNECT_SECONDS)
            try:
                # Told before it is connected: who doesn't answer is given up at once, too.
                self.opened(sock)
                sock.connect((address, port))
            except OSError as error:
                sock.close()
                last = error
                continue
            except BaseException:
                sock.close()
                raise
            sock.settimeout(_SILENCE_SECONDS)
            return sock
        raise TryAgainError(f"{', '.join(addresses)} port {port}: {last}")

    def _to_proxy(self, proxy: Proxy) -> socket.socket:
        """The operator chose it: it may be anywhere."""
        own = Policy(allowed=(), ports=frozenset(), resolvers=self.policy.resolvers)
        found = literal(proxy.host)
        return self._connected([str(found)] if found is not None else own.looked_up(proxy.host), proxy.port)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.authorities:
            context.load_verify_locations(cadata="\n".join(self.authorities))
        return context


def _proxy_login(proxy: Proxy) -> dict[str, str]:
    return {"Proxy-Authorization": proxy.login.header} if proxy.login is not None else {}


def _tunnel(sock: socket.socket, url: Url, proxy: Proxy) -> None:
    host = f"[{url.host}]" if ":" in url.host else url.host
    lines = [f"CONNECT {host}:{url.port} HTTP/1.1", f"Host: {host}:{url.port}"]
    lines += [f"{name}: {value}" for name, value in _proxy_login(proxy).items()]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    # Byte by byte: what comes behind it is TLS's.
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(head) > 16384:
            raise TryAgainError("The proxy broke off")
        head += byte
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        words = head.split(b"\r\n", 1)[0].decode("latin-1")[:100]
        raise RefusedByServerError(f"The proxy says {words}")


class Answer:
    """Its head, and the body as it comes."""

    def __init__(self, url: Url, response: http.client.HTTPResponse, sock: socket.socket) -> None:
        self.url = url
        self._response = response
        self._sock = sock
        self.status = response.status
        self.length = response.length
        """Of the body, as the server says it; None: it ends where the connection does, or is in chunks."""

    def header(self, name: str) -> str:
        return self._response.getheader(name) or ""

    @property
    def size(self) -> int | None:
        """Of the whole file, which a range is of (RFC 9110, 14.4)."""
        total = self.header("Content-Range").rpartition("/")[2]
        return int(total) if total.isdecimal() else None

    @property
    def begin(self) -> int | None:
        first = self.header("Content-Range").removeprefix("bytes ").partition("-")[0]
        return int(first) if first.isdecimal() else None

    @property
    def validator(self) -> str:
        """What a later range is asked with, as If-Range (RFC 9110, 13.1.5): a strong one, or none."""
        etag = self.header("ETag")
        return etag if etag.startswith('"') else self.header("Last-Modified") if not etag else ""

    def read(self, most: int) -> bytes:
        """What has come, at least a byte; nothing: the body has ended. It waits for no more than that, so
        that whoever reads finds out how slow it is."""
        return self._response.read1(most)

    def close(self) -> None:
        self._response.close()
        self._sock.close()

    def checked(self) -> "Answer":
        """Itself, if it has what was asked for. Raises RefusedByServerError, TryAgainError."""
        if self.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            return self
        self.close()
        words = f"{self.url.shown} answers {self.status} {self._response.reason}"[:300]
        if self.status in (408, 425, 429) or self.status >= 500:
            after = self.header("Retry-After")
            raise TryAgainError(words, float(after) if after.isdecimal() else 0.0)
        raise RefusedByServerError(words, self.status)


__all__ = ["Answer", "Login", "Proxy", "RefusedAddressError", "RefusedByServerError", "TryAgainError", "Web"]
