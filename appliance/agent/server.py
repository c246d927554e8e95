"""Serve the API: HTTPS on the control address only, mutual TLS, by Hypercorn.

Connections live in one event loop, so a client that trickles its request holds a socket and no thread; only
whole requests reach a thread.
"""

import asyncio
import ipaddress
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from hypercorn.asyncio import serve
from hypercorn.config import Config

from appliance.agent.api import MOST_BYTES
from appliance.boot import API_PORT, Boot
from appliance.wsgi import for_hypercorn

_TLS_SECONDS = 5.0
_READ_SECONDS = 20


class _TlsConfig(Config):
    """Hypercorn's settings, with a TLS context made from boot data instead of files that stay around."""

    def __init__(self, boot: Boot) -> None:
        super().__init__()
        self._boot = boot
        address = ipaddress.ip_interface(boot.control.address).ip
        host = f"[{address}]" if address.version == 6 else str(address)
        self.bind = [f"{host}:{API_PORT}"]
        self.alpn_protocols = ["http/1.1"]
        self.accesslog = None
        self.include_server_header = False
        self.ssl_handshake_timeout = _TLS_SECONDS
        self.read_timeout = _READ_SECONDS
        self.keep_alive_timeout = 60
        self.keep_alive_max_requests = 1_000_000
        # Somewhat more than the API takes, so that it is the API that says so.
        self.wsgi_max_body_size = 2 * MOST_BYTES
        self.graceful_timeout = 1
        self.shutdown_timeout = 5

    @property
    def ssl_enabled(self) -> bool:
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Only a certificate of our management plane's CA that is meant for clients gets in: OpenSSL checks
        # the purpose, so another appliance's certificate, which is a server's, doesn't.
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self._boot.tls.ca)
        context.set_alpn_protocols(self.alpn_protocols)
        with tempfile.TemporaryDirectory(prefix="sysvm-tls-", dir="/run") as directory:
            certificate = Path(directory) / "certificate.pem"
            key = Path(directory) / "key.pem"
            certificate.write_text(self._boot.tls.certificate)
            key.touch(mode=0o600)
            key.write_text(self._boot.tls.key.get_secret_value())
            context.load_cert_chain(certificate, key)
        return context


def run(app: Flask, boot: Boot, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Until `stop`; `ready` is called once the socket listens. Raises OSError where it can't bind."""
    asyncio.run(_run(app, boot, stop, ready))


async def _run(app: Flask, boot: Boot, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    config = _TlsConfig(boot)

    async def announce() -> None:
        # Hypercorn tells nobody that it listens; a connection does.
        host, port = config.bind[0].rsplit(":", 1)
        while True:
            try:
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            except OSError:
                await asyncio.sleep(0.005)
            else:
                writer.close()
                ready()
                return

    announcing = asyncio.create_task(announce())
    app.wsgi_app = for_hypercorn(app.wsgi_app)  # type: ignore[method-assign,assignment]
    await serve(app, config, shutdown_trigger=stop.wait, mode="wsgi")
    announcing.cancel()
