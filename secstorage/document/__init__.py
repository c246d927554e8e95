"""The document of secondary storage: stores, sources, limits. Keyed as a router's is, so that a merge patch
can name one store.

One module here per noun; services and validation find all of them in this package.
"""

from typing import Literal

from appliance.document import Document
from secstorage.document.limits import Limits
from secstorage.document.source import Authority, Credential, Proxy, Sources
from secstorage.document.store import DiskStore, LocalStore, NfsStore, Store, StoreName


class SecstorageDocument(Document):
    role: Literal["secstorage"]
    stores: dict[StoreName, Store] = {}
    """By name. A store that goes from the document is let go of, with all that is on it."""
    sources: Sources = Sources()
    limits: Limits = Limits()


__all__ = [
    "Authority",
    "Credential",
    "DiskStore",
    "Limits",
    "LocalStore",
    "NfsStore",
    "Proxy",
    "SecstorageDocument",
    "Sources",
    "Store",
    "StoreName",
]
