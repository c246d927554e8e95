"""The daemon's one file, and its certificates."""

import json
from collections.abc import Iterator

from appliance.checks import Check, HttpCheck
from appliance.memo import per_key
from appliance.resources import File, Resource, Unit
from consoleproxy.document import Console, ConsoleproxyDocument
from consoleproxy.identity import GROUP

SOCKET = "/run/sysvm-console/control.sock"
_DIRECTORY = "/run/sysvm/console"
_CONFIG = f"{_DIRECTORY}/config.json"
_UNIT = "sysvm-console.service"


def resources(document: ConsoleproxyDocument) -> Iterator[Resource]:
    if not document.listen:
        return
    certificates = {}
    for name, certificate in document.certificates.items():
        path = f"{_DIRECTORY}/certificates/{name}.pem"
        # One file: neither is ever seen without the other.
        content = f"{certificate.certificate.rstrip()}\n{certificate.key.get_secret_value().rstrip()}\n"
        yield File(path=path, content=content, mode=0o640, group=GROUP, secret=True)
        certificates[name] = path
    config = {
        "name": document.name,
        "listen": [
            {"address": listen.address, "port": listen.port, "tls": listen.tls}
            for _, listen in sorted(document.listen.items())
        ],
        "certificate": certificates.get(document.default_certificate or "", ""),
        "certificates": {
            host: certificates[name]
            for name, certificate in document.certificates.items()
            for host in certificate.names
        },
        "issuers": document.issuers,
        "consoles": _consoles(document.consoles),
        "origins": document.origins,
        "proxies": document.proxies,
        "path": document.path,
        "limits": document.limits.model_dump(),
        "revoked": document.revoked.model_dump(),
        "draining": document.draining,
    }
    content = json.dumps(config, sort_keys=True) + "\n"
    yield File(path=_CONFIG, content=content, mode=0o640, group=GROUP, secret=True)
    yield Unit(name=_UNIT, reload_on=(_CONFIG, *sorted(certificates.values())))


@per_key
def _consoles(name: str, console: Console) -> dict[str, object]:
    value: dict[str, object] = {
        "title": console.title or name,
        "kind": console.kind,
        "host": console.address or "",
        "port": console.port or 0,
        "socket": console.socket or "",
        "transport": console.transport,
        "viewers": console.viewers,
        "available": console.available,
        "user": console.user or "",
    }
    if console.password is not None:
        value["password"] = console.password.get_secret_value()
    if console.path is not None:
        value["path"] = console.path.get_secret_value()
    if console.cookie is not None:
        value["headers"] = {"Cookie": console.cookie.get_secret_value()}
    if console.tls is not None:
        value["tls"] = {"ca": console.tls.authority, "name": console.tls.name or console.address or ""}
    return value


def checks(document: ConsoleproxyDocument) -> Iterator[Check]:
    if document.listen:
        yield HttpCheck(name="console", socket=SOCKET, path="/health")
