"""Stores: none is had twice."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from secstorage.document import DiskStore, NfsStore, SecstorageDocument


def problems(document: SecstorageDocument) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, store in sorted(document.stores.items()):
        if isinstance(store, NfsStore):
            if ".." in store.export.split("/"):
                yield Problem(
                    pointer("stores", name, "export"), f"Store {name}: the path of an export has no .."
                )
            key, place = f"{store.server} {_plain(store.export)}", "export"
        elif isinstance(store, DiskStore):
            key, place = store.uuid, "uuid"
        else:
            continue
        if key in seen:
            yield Problem(
                pointer("stores", name, place),
                f"Store {name}: it is what store {seen[key]} is; two journals would be at odds",
            )
        seen.setdefault(key, name)


def _plain(export: str) -> str:
    return "/" + "/".join(part for part in export.split("/") if part not in ("", "."))
