"""The machine that the engine observes and changes: its file tree, its kernel, its service manager."""

import json
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from appliance.engine.news import News
from appliance.engine.nft import Nft
from appliance.engine.rtnetlink import IPRoute
from appliance.engine.traffic_control import TrafficControl
from appliance.engine.wireguard_kernel import available

GENERATED = Path("/run/sysvm")
"""Everything generated from the document. All files below it are the engine's, or go."""
PERSISTENT = Path("/var/lib/sysvm")
NETWORK = "network"
"""Of what is kept as seen: links, addresses, routes and rules."""
T = TypeVar("T")


@dataclass
class Host:
    generated: Path = GENERATED
    persistent: Path = PERSISTENT
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sealed password -> password, for the transaction that brought them only."""
    expected_names: Mapping[int, str] = field(default_factory=dict)
    """Names that links have, or will have once the plan in the making is carried out, by index."""
    read_counters: Callable[[], object] = field(default=lambda: None, repr=False)
    """Called before and after traffic counters are removed: what they counted isn't lost, and new ones of
    the same name aren't taken for them."""
    silent: AbstractSet[tuple[str, str]] = frozenset()
    """Watched next hops, by link and gateway, that don't answer: routes are made without them."""
    seen: dict[str, Any] = field(default_factory=dict, repr=False)
    """Observations that a witness of the kernel's still vouches for; see each kind."""

    @property
    def state(self) -> Path:
        """Where the engine notes what it loaded: gone with a reboot, as the things themselves are."""
        return self.generated / "engine"

    @property
    def expected_links(self) -> AbstractSet[str]:
        return frozenset(self.expected_names.values())

    @cached_property
    def nft(self) -> Nft:
        return Nft()

    @cached_property
    def ip(self) -> IPRoute:
        return IPRoute()

    @cached_property
    def kernel_wireguard(self) -> bool:
        """Whether the kernel has WireGuard; where not, a daemon does it."""
        return available(self.ip)

    @cached_property
    def traffic_control(self) -> TrafficControl:
        return TrafficControl()

    @cached_property
    def queue_kinds(self) -> AbstractSet[str]:
        """Of what shaping is made of (`htb`, `fq_codel`), what the kernel has."""
        return self.traffic_control.kinds()

    @cached_property
    def news(self) -> News:
        return News()

    def network(self, what: str, ask: Callable[[], T]) -> T:
        """What `ask` observes of links, addresses, routes or rules; the last observation under this name for
        as long as the kernel has no news of any of them. It is not to be changed."""
        kept: dict[str, T] = self.seen.setdefault(NETWORK, {})
        if self.news.came():
            kept.clear()
        if what not in kept:
            kept[what] = ask()
        return kept[what]

    def links(self) -> dict[int, dict[str, Any]]:
        """The kernel's links by index: name, MAC address, MTU, whether up, and our mark on them."""
        return self.network("links", self._links)

    def _links(self) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for message in self.ip.get_links():
            found[message["index"]] = {
                "name": message.get_attr("IFLA_IFNAME"),
                "mac": message.get_attr("IFLA_ADDRESS"),
                "mtu": message.get_attr("IFLA_MTU"),
                "up": bool(message["flags"] & 1),
                "alias": message.get_attr("IFLA_IFALIAS") or "",
            }
        return found

    def link_index(self, name: str) -> int:
        """Raises LookupError where no such link is there."""
        for index, link in self.links().items():
            if link["name"] == name:
                return index
        raise LookupError(f"There is no network interface {name}")

    def note(self, name: str) -> Any:
        """What the engine noted under this name, or None; a torn or missing note is no note."""
        try:
            return json.loads((self.state / name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
