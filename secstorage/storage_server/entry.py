"""What stores have: templates, volumes, snapshots; each a directory with a file and its properties."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from appliance.model import Model

Kind = Literal["template", "volume", "snapshot"]
DIRECTORIES: dict[Kind, str] = {"template": "template", "volume": "volumes", "snapshot": "snapshots"}
PROPERTIES = "properties.json"
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126})$")]


class EntryName(Model):
    kind: Kind
    id: Id

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"

    @property
    def place(self) -> str:
        """Its directory, from a store's root."""
        return f"{DIRECTORIES[self.kind]}/{self.id}"


@dataclass(frozen=True, kw_only=True)
class Properties:
    """What stands in `properties.json`; docs/secstorage.md has the fields."""

    kind: Kind
    id: str
    job: str
    """That made it."""
    file: str
    format: str
    size: int
    virtual_bytes: int
    sha256: str
    created: float
    """Seconds since the epoch."""
    description: str = ""
    source: str = ""
    disks: list[dict[str, object]] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"version": 1, **self.__dict__}

    def as_text(self) -> bytes:
        return (json.dumps(self.as_json(), indent=2, sort_keys=True) + "\n").encode()


def read(directory: Path) -> dict[str, Any]:
    """The properties of an entry. Raises FileNotFoundError, and ValueError where they aren't ours."""
    value = json.loads((directory / PROPERTIES).read_bytes())
    if not isinstance(value, dict) or value.get("version") != 1:
        raise ValueError(f"{directory.name}: these are no properties of version 1")
    return value
