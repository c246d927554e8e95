"""What the process is told: `/run/sysvm/redundancy/pair.json`, which router/redundancy.py writes."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A path: a link, this router's address on it, the other's, and what that one's adverts come from."""

    link: str
    own: str
    peer: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    name: str
    peer: str
    secret: bytes = field(repr=False)
    preempt: bool
    virtual_router_id: int
    sync: Place
    paths: tuple[Place, ...]
    addresses: tuple[tuple[str, str], ...]
    """The virtual ones: link, address with its prefix length."""
    dhcp: Mapping[str, str]
    """This router's own address by link with a DHCP server."""
    links: tuple[str, ...]
    gateways: tuple[tuple[str, str], ...]
    daemons: tuple[str, ...]
    tunnels: Mapping[str, str]
    """WireGuard links, each with the unit that it is where it isn't the kernel's."""
    seconds: float

    def key(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose; the secret itself is used for nothing else."""
        return hmac.new(self.secret, purpose.encode(), hashlib.sha256).digest()


def read(path: Path) -> Settings:
    """Raises OSError, and ValueError, KeyError or TypeError for what isn't ours."""
    value = json.loads(path.read_bytes())
    sync = value["sync"]
    return Settings(
        name=value["name"],
        peer=value["peer"],
        secret=value["secret"].encode(),
        preempt=value["preempt"],
        virtual_router_id=value["virtual_router_id"],
        sync=Place(link=sync["link"], own=sync["own"], peer=sync["peer"], source=sync["peer"]),
        paths=tuple(
            Place(link=link, own=each["own"], peer=each["peer"], source=each["source"])
            for link, each in value["paths"].items()
        ),
        addresses=tuple((link, address) for link, address in value["addresses"]),
        dhcp=value["dhcp"],
        links=tuple(value["links"]),
        gateways=tuple((link, address) for link, address in value["gateways"]),
        daemons=tuple(value["daemons"]),
        tunnels=value["tunnels"],
        seconds=value["seconds"],
    )
