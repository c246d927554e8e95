"""The certificates that browsers are shown."""

import ssl
from collections.abc import Mapping


class Shown:
    """Those of the moment. Whoever has been shown another one isn't cut."""

    def __init__(self) -> None:
        self._default: ssl.SSLContext | None = None
        self._by_name: dict[str, ssl.SSLContext] = {}

    def replace(self, certificate: str, certificates: Mapping[str, str]) -> None:
        """Files with a certificate, its chain and its key: for whoever names none of the others, and by host
        name. Raises OSError and ssl.SSLError."""
        by_name = {name: _context(path) for name, path in certificates.items()}
        self._default = _context(certificate) if certificate else None
        self._by_name = by_name

    def doorman(self) -> ssl.SSLContext:
        """Shows each newcomer what is right at that moment, by the name that they ask for (RFC 6066)."""
        context = _empty()

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            asked = (name or "").lower()
            found = self._by_name.get(asked) or self._by_name.get(f"*.{asked.partition('.')[2]}")
            found = found or self._default
            if found is None:
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            connection.context = found
            return None

        context.sni_callback = choose
        return context


def _empty() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context(path: str) -> ssl.SSLContext:
    context = _empty()
    context.load_cert_chain(path)
    return context
