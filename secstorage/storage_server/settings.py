"""What the engine wrote for the daemon: `secstorage/storage.py` makes it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secstorage.document import Limits
from secstorage.download.destination import Policy
from secstorage.download.web import Login, Proxy, Web


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    path: Path
    mounted: bool
    """Nothing is done before something is mounted there."""
    state: str
    reserve_bytes: int
    jobs_at_once: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    appliance: str
    stores: dict[str, StoreSettings]
    limits: Limits
    web: Web
    logins: dict[str, Login] = field(repr=False)


def read(path: Path) -> Settings:
    """Raises FileNotFoundError; nothing else, for the engine wrote it."""
    return of(json.loads(path.read_bytes()))


def of(value: dict[str, Any]) -> Settings:
    sources = value["sources"]
    logins = {
        name: Login(item["user"], item["password"], frozenset(item["hosts"]))
        for name, item in sources["credentials"].items()
    }
    limits = Limits.model_validate(value["limits"])
    proxy = sources["proxy"]
    web = Web(
        policy=Policy.of(sources["allowed_networks"], sources["ports"], sources["resolvers"]),
        authorities=tuple(sources["authorities"]),
        proxy=proxy and Proxy(proxy["host"], proxy["port"], logins.get(proxy["credential"] or "")),
        redirects=limits.redirects,
    )
    stores = {
        name: StoreSettings(**{**item, "path": Path(item["path"])}) for name, item in value["stores"].items()
    }
    return Settings(appliance=value["appliance"], stores=stores, limits=limits, web=web, logins=logins)
