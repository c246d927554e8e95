"""Certificates that browsers are shown."""

from collections.abc import Iterator

from appliance import certificate
from appliance.model import Problem, pointer
from consoleproxy.document import Certificate, ConsoleproxyDocument


def problems(document: ConsoleproxyDocument) -> Iterator[Problem]:
    default = document.default_certificate
    if default is not None and default not in document.certificates:
        yield Problem("/default_certificate", f"There is no certificate {default}")
    shown: dict[str, str] = {}
    for name, item in document.certificates.items():
        for field, sentence in _sentences(item):
            yield Problem(pointer("certificates", name, field), f"Certificate {name}: {sentence}")
        for number, host in enumerate(item.names):
            if other := shown.get(host):
                yield Problem(
                    pointer("certificates", name, "names", number),
                    f"Certificate {name}: {host} is {other}'s, too",
                )
            shown[host] = name


def _sentences(item: Certificate) -> Iterator[tuple[str, str]]:
    found = certificate.parsed(item.certificate)
    if not found:
        yield "certificate", "there is no certificate in PEM (RFC 7468)"
        return
    own, *chain = found
    if chain and (fault := certificate.chain_fault(own, chain)):
        yield "certificate", fault
    if fault := certificate.key_fault(own, item.key.get_secret_value()):
        yield "key", fault


def lapsed(document: ConsoleproxyDocument, running: ConsoleproxyDocument | None) -> Iterator[Problem]:
    """Certificates past their time, or before it. One that runs already isn't refused for that, nor is one
    by an appliance that has nothing yet: it may be an old one built anew."""
    if running is not None and running.generation == 0:
        return
    known = {} if running is None else running.certificates
    for name, item in document.certificates.items():
        before = known.get(name)
        if (before is None or before.certificate != item.certificate) and (
            sentence := certificate.lapse(item.certificate)
        ):
            yield Problem(pointer("certificates", name, "certificate"), f"Certificate {name}: {sentence}")
