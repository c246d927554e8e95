"""The storage daemon: what its process reads, and how it is."""

import json
from collections.abc import Iterator

from appliance.checks import Check, HttpCheck
from appliance.resources import File, Resource, Unit
from secstorage.document import Credential, LocalStore, Proxy, SecstorageDocument, Sources
from secstorage.identity import GROUP
from secstorage.mounts import path_of

CONFIG = "/run/sysvm/storage/config.json"
SOCKET = "/run/sysvm-storage/api.sock"
UNIT = "sysvm-storage.service"


def resources(document: SecstorageDocument) -> Iterator[Resource]:
    if not document.stores:
        return
    content = json.dumps(settings(document), indent=2, sort_keys=True) + "\n"
    yield File(path=CONFIG, content=content, mode=0o640, group=GROUP, secret=True)
    yield Unit(name=UNIT, reload_on=(CONFIG,))


def settings(document: SecstorageDocument) -> dict[str, object]:
    """See `storage_server/settings.py`."""
    return {
        "appliance": document.name,
        "stores": {
            name: {
                "path": path_of(name, store),
                "mounted": not isinstance(store, LocalStore),
                "state": store.state,
                "reserve_bytes": store.reserve_bytes,
                "jobs_at_once": store.jobs_at_once,
            }
            for name, store in sorted(document.stores.items())
        },
        "limits": document.limits.model_dump(mode="json"),
        "sources": _sources(document.sources),
    }


def _sources(sources: Sources) -> dict[str, object]:
    return {
        "resolvers": sources.resolvers,
        "allowed_networks": sources.allowed_networks,
        "ports": sources.ports,
        "authorities": [authority.certificates for _, authority in sorted(sources.authorities.items())],
        "credentials": {name: _credential(item) for name, item in sorted(sources.credentials.items())},
        "proxy": _proxy(sources.proxy),
    }


def _credential(item: Credential) -> dict[str, object]:
    return {"user": item.user, "password": item.password.get_secret_value(), "hosts": item.hosts}


def _proxy(proxy: Proxy | None) -> dict[str, object] | None:
    return None if proxy is None else proxy.model_dump(mode="json")


def checks(document: SecstorageDocument) -> Iterator[Check]:
    if document.stores:
        yield HttpCheck(name="storage", socket=SOCKET, path="/v1/storage/health")
    for name in document.stores:
        yield HttpCheck(name=f"store {name}", socket=SOCKET, path=f"/v1/storage/stores/{name}/health")
