"""The certificates that browsers are shown."""

import ssl


def server_context(certificate: str, certificates: dict[str, str]) -> ssl.SSLContext:
    """TLS for browsers, by the name they ask for. Raises OSError and ssl.SSLError."""
    by_name = {name: _context(path) for name, path in certificates.items()}
    context = _context(certificate)

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        chosen = by_name.get((name or "").lower()) or by_name.get(
            f"*.{(name or '').lower().partition('.')[2]}"
        )
        if chosen is not None:
            connection.context = chosen

    context.sni_callback = choose
    return context


def _context(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(path)
    return context
