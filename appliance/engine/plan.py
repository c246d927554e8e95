"""What would have to change for a host to be in a wanted state."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from appliance import resources
from appliance.engine import (
    address,
    checksum,
    counter,
    fast_path,
    file,
    ipsec,
    l2tp,
    leases,
    link,
    load_balancers,
    password,
    queues,
    records,
    route,
    rule,
    ruleset,
    shaping,
    sysctl,
    tunnel_link,
    unit,
    wireguard,
)
from appliance.engine.change import Change
from appliance.engine.host import NETWORK, Host
from appliance.route import Route
from appliance.shaping import Shaping


class Kind(Protocol):
    """What the module of a resource kind offers. `fresh` distrusts every kept observation."""

    KIND: str

    def plan(self, wanted: Sequence[Any], host: Host, *, fresh: bool = False) -> Iterator[Change]: ...


KINDS: Mapping[type, Kind] = {
    # In the order in which things come into being. The firewall is first: its rules name interfaces
    # that need not exist yet, and no packet passes that it doesn't know.
    resources.Ruleset: ruleset,
    resources.Counter: counter,
    resources.ChecksumFill: checksum,
    resources.Link: link,
    resources.WireGuard: wireguard,
    resources.TunnelLink: tunnel_link,
    resources.ReceiveQueues: queues,
    # It names links that are there.
    resources.FastPath: fast_path,
    resources.Address: address,
    resources.Sysctl: sysctl,
    Route: route,
    resources.Rule: rule,
    resources.File: file,
    resources.Records: records,
    resources.Password: password,
    resources.LoadBalancers: load_balancers,
}


@dataclass(frozen=True)
class Plan:
    changes: tuple[Change, ...]
    wanted: tuple[resources.Resource, ...]

    def as_json(self) -> list[dict[str, str]]:
        return [change.as_json() for change in self.changes]


def make(wanted: Iterable[resources.Resource], host: Host, *, fresh: bool = False) -> Plan:
    """The steps from what is observed to what is wanted, in the order in which they must be taken."""
    wanted = shaping.settled(tuple(wanted), host)
    by_kind: dict[type, list[Any]] = {}
    for resource in wanted:
        by_kind.setdefault(type(resource), []).append(resource)
    if fresh:
        host.seen.pop(NETWORK, None)
    tunnels = by_kind.get(resources.WireGuard, ())
    names = link.expected(by_kind.get(resources.Link, ()), host)
    host.expected_names = wireguard.expected(names, tunnels, host)
    changes: list[Change] = []
    for kind, module in KINDS.items():
        changes += module.plan(by_kind.get(kind, ()), host, fresh=fresh)
    written = {path for change in changes for path in change.writes}
    servers = by_kind.get(resources.L2tpServer, ())
    running = [*by_kind.get(resources.Unit, ()), *wireguard.units(tunnels, host), *l2tp.units(servers)]
    changes += unit.plan(running, host, changed=written, fresh=fresh)
    changes += leases.plan(by_kind.get(resources.Leases, ()), host, fresh=fresh)
    held = [item for kind in ipsec.KINDS for item in by_kind.get(kind, ())]
    changes += ipsec.plan(held, host, fresh=fresh)
    changes += l2tp.plan(servers, host, fresh=fresh)
    changes += shaping.plan(by_kind.get(Shaping, ()), host, fresh=fresh)
    return Plan(changes=tuple(_ordered(changes)), wanted=wanted)


def _ordered(changes: Sequence[Change]) -> Iterator[Change]:
    """Units that nobody wants stop first, while what they stand on is there; then things come, in the
    order of the kinds; then things go, in reverse. An address or a route is thus never missing between
    the old and the new one. Units come last but for what wants them running."""
    stops = [change for change in changes if change.action == "stop"]
    # What moves from one HAProxy to another is listened to by both for a moment, rather than by none.
    given_up = [
        change for change in changes if change.kind == load_balancers.KIND and change.action == "reload"
    ]
    # Guests are served before thousands of them wait in queues: the kernel takes its time to make those.
    late = (unit.KIND, leases.KIND, *ipsec.LATE, l2tp.KIND, shaping.KIND)
    rest = [
        change
        for change in changes
        if change.action != "stop" and change.kind not in late and change not in given_up
    ]
    yield from stops
    yield from (change for change in rest if change.action != "delete")
    yield from (change for change in reversed(rest) if change.action == "delete")
    yield from (change for change in changes if change.kind in late and change.action != "stop")
    yield from given_up
