"""The roles an appliance can have, and where the typed document of each is.

Models are imported when they are asked for: a command that has nothing to do with routers doesn't wait
for the router's models to be built.
"""

import importlib
from typing import cast

from appliance.document import Document

DOCUMENTS = {
    "router": "router.document:RouterDocument",
}


class UnknownRoleError(LookupError):
    """A role that no document model is known for."""

    def __init__(self, role: str) -> None:
        super().__init__(f"There is no role {role!r}; there are: {', '.join(sorted(DOCUMENTS))}.")
        self.role = role


def document_model(role: str) -> type[Document]:
    """The document class of a role. Raises UnknownRoleError."""
    place = DOCUMENTS.get(role)
    if place is None:
        raise UnknownRoleError(role)
    module, _, name = place.partition(":")
    return cast(type[Document], getattr(importlib.import_module(module), name))
