"""Stores that have to be mounted: a unit for each, which keeps it mounted."""

import json
from collections.abc import Iterator

from appliance.resources import File, Resource, Unit
from secstorage.document import DiskStore, LocalStore, NfsStore, SecstorageDocument, Store

CONFIG = "/run/sysvm/stores"
MOUNTED = "/run/sysvm-stores"
LOCAL = "/var/lib/sysvm/stores"


def resources(document: SecstorageDocument) -> Iterator[Resource]:
    for name, store in document.stores.items():
        if isinstance(store, LocalStore):
            continue
        path = f"{CONFIG}/{name}.json"
        yield File(path=path, content=json.dumps(settings(name, store), indent=2, sort_keys=True) + "\n")
        yield Unit(name=f"sysvm-store@{name}.service", restart_on=(path,))


def settings(name: str, store: DiskStore | NfsStore) -> dict[str, object]:
    """What its unit mounts, as arguments of mount(8)."""
    wanted: dict[str, object] = {"path": path_of(name, store)}
    if isinstance(store, DiskStore):
        wanted |= {"source": f"UUID={store.uuid}", "type": store.file_system, "options": _PLAIN}
    else:
        server = f"[{store.server}]" if ":" in store.server else store.server
        wanted |= {
            "source": f"{server}:{store.export}",
            "type": "nfs",
            "options": [*_PLAIN, *_nfs(store)],
            "patience_seconds": store.timeout_seconds * (store.retries + 1),
        }
    return wanted


_PLAIN = ["rw", "nodev", "nosuid", "noexec", "noatime"]


def _nfs(store: NfsStore) -> list[str]:
    """nfs(5). `soft`: with few retries, so that nobody hangs; what wasn't acknowledged a job does again.
    `softreval`: what is known of names is used while the server is away. Locks are the lease's business (see
    `journal.py`), so version 3 needs no lock daemon."""
    options = [
        f"vers={store.version}",
        "proto=tcp6" if ":" in store.server else "proto=tcp",
        "soft",
        f"timeo={store.timeout_seconds * 10}",
        f"retrans={store.retries}",
        f"nconnect={store.connections}",
        "nosharecache",
        # Another appliance may have written: names are asked for again after seconds, not after minutes.
        "actimeo=3",
    ]
    return [*options, "nolock"] if store.version == "3" else options


def path_of(name: str, store: Store) -> str:
    return f"{LOCAL if isinstance(store, LocalStore) else MOUNTED}/{name}"
