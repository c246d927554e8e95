"""Redundancy: a pair of routers with keepalived (VRRPv3, RFC 5798) and conntrackd.

All that the document says runs on both; what moves is addresses. Those that services want on a link are
keepalived's there, and only the primary has them; each router's own are those of its paths. Which of the two
is the primary follows from a number: see templates/keepalived/keepalived.conf.j2, and router/pair, the
process that counts faults, keeps the two informed of leases and passwords, and answers for the state.
"""

import hashlib
import hmac
import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from appliance.checks import Check, DhcpCheck, DnsCheck, HttpCheck, MetadataCheck
from appliance.resources import (
    Address,
    Connection,
    File,
    L2tpServer,
    Leases,
    Resource,
    Setting,
    Sysctl,
    Unit,
    WireGuard,
)
from appliance.route import Route
from appliance.template import render
from router.document import Redundancy, RouterDocument
from router.elements import Elements
from router.listening import Listener
from router.network import SYNC
from router.paths import paths

DIRECTORY = "/run/sysvm/redundancy"
RUNTIME = "/run/sysvm-redundancy"
"""What the daemons make themselves."""
CONNECTIONS_PORT = 3780
STATE_PORT = 3781
VRRP = 112
_TCP, _UDP = 6, 17
_GROUPS = {4: "224.0.0.18", 6: "ff02::12"}
_KEEPALIVED = f"{DIRECTORY}/keepalived.conf"
_CONNTRACKD = f"{DIRECTORY}/conntrackd.conf"
_PAIR = f"{DIRECTORY}/pair.json"
_UNITS = ("sysvm-conntrackd.service", "sysvm-pair.service", "sysvm-keepalived.service")
_NOT_TRACKED = ("sysvm-time.service", "sysvm-ulogd.service")
"""Without them guests miss nothing."""
_KERNEL = {
    # Daemons are ready on addresses that the other router has.
    "net/ipv4/ip_nonlocal_bind": "1",
    "net/ipv6/ip_nonlocal_bind": "1",
    # An address that goes doesn't take its network's other ones with it.
    "net/ipv4/conf/all/promote_secondaries": "1",
    # Of a connection that was taken over nobody knows the windows.
    "net/netfilter/nf_conntrack_tcp_be_liberal": "1",
}


def is_shared(document: RouterDocument, link: str) -> bool:
    """Whether addresses on a link belong to whichever of the two is the primary."""
    return document.redundancy is not None and link in document.interfaces and not link.startswith(SYNC)


def settled(document: RouterDocument, wanted: Iterable[Resource]) -> Iterator[Resource]:
    """What one router of a pair makes of what all services want."""
    redundancy = document.redundancy
    if redundancy is None:
        yield from wanted
        return
    virtual: list[Address] = []
    units: list[str] = []
    tunnels: dict[str, str] = {}
    for resource in wanted:
        match resource:
            case Address() if is_shared(document, resource.link):
                virtual.append(resource)
                continue
            case Route() if any(is_shared(document, link) for link in _links(resource)):
                # The network it leads through is there on the primary only.
                yield replace(resource, onlink=True)
                continue
            case Leases():
                yield replace(resource, virtual=True)
                continue
            case Connection():
                yield replace(resource, settings=_awaited(resource.settings), follows=True)
                continue
            case L2tpServer():
                yield replace(resource, follows=True)
                continue
            case Unit():
                units.append(resource.name)
            case WireGuard():
                tunnels[resource.link] = resource.daemon
        yield resource
    yield from _resources(document, redundancy, virtual, units, tunnels)


def _links(route: Route) -> list[str]:
    """By which a route leads."""
    return [link for link in (route.link, *(hop.link for hop in route.next_hops)) if link is not None]


def _resources(
    document: RouterDocument,
    redundancy: Redundancy,
    virtual: list[Address],
    units: list[str],
    tunnels: Mapping[str, str],
) -> Iterator[Resource]:
    ways = paths(document)
    for link, path in ways.items():
        yield Address(link=link, address=path.own)
    for link in document.interfaces:
        if is_shared(document, link) and link not in ways:
            yield Address(link=link, address=anchor(redundancy))
    for name, value in _KERNEL.items():
        yield Sysctl(name=name, value=value)
    yield File(
        path=_KEEPALIVED,
        content=_keepalived(document, redundancy, virtual),
        check=("keepalived", "--config-test", "--use-file={}"),
    )
    yield File(path=_CONNTRACKD, content=_conntrackd(document, redundancy))
    yield File(path=_PAIR, content=_pair(document, redundancy, virtual, units, tunnels),
               mode=0o600, secret=True)  # fmt: skip
    connections, pair, vrrp = _UNITS
    yield Unit(name=connections, restart_on=(_CONNTRACKD,), links=(redundancy.sync,))
    yield Unit(name=pair)
    yield Unit(name=vrrp, reload_on=(_KEEPALIVED,))


def _awaited(settings: Mapping[str, Setting]) -> Mapping[str, Setting]:
    """Of a connection that the IKE daemon doesn't begin by itself: the agent does, where its address is."""
    children = settings["children"]
    if not isinstance(children, Mapping):
        return settings
    waiting = {"start_action": "none", "close_action": "none", "dpd_action": "clear"}
    return {
        **settings,
        "children": {
            name: {**child, **waiting} if isinstance(child, Mapping) else child
            for name, child in children.items()
        },
    }


def anchor(redundancy: Redundancy) -> str:
    """An address that stays on links that are no paths, and that nobody uses: with a link's last address the
    kernel takes all routes by that link away."""
    return f"{ipaddress.IPv4Network(redundancy.path_network)[-1]}/32"


def _keepalived(document: RouterDocument, redundancy: Redundancy, virtual: list[Address]) -> str:
    ways = paths(document)
    source = ways[redundancy.multicast or redundancy.sync].address
    number = redundancy.virtual_router_id
    return render(
        "keepalived/keepalived.conf.j2",
        router=document.name,
        runtime=RUNTIME,
        redundancy=redundancy,
        # 210 is five faults: what is left when there are no more is the priority.
        priority=210 + redundancy.priority,
        source=source,
        peers=[way.peer for way in ways.values()],
        constant=f"fe80::5eff:fe00:2{number:02x}/128" if ":" in source else f"169.254.255.{number}/32",
        addresses=sorted(virtual, key=lambda address: (address.link, address.address)),
    )


def _conntrackd(document: RouterDocument, redundancy: Redundancy) -> str:
    ways = paths(document)
    sync = ways[redundancy.sync]
    return render(
        "conntrackd/conntrackd.conf.j2",
        version=6 if ":" in sync.peer else 4,
        own=sync.address,
        peer=sync.peer,
        port=CONNECTIONS_PORT,
        link=redundancy.sync,
        runtime=RUNTIME,
        # A list that doesn't grow with the networks: each change of it restarts the daemon.
        ignored=[
            redundancy.path_network,
            *(address for path in redundancy.paths.values()
              for address in (path.address.partition("/")[0], path.peer)),
        ],
    )  # fmt: skip


def _pair(
    document: RouterDocument,
    redundancy: Redundancy,
    virtual: list[Address],
    units: list[str],
    tunnels: Mapping[str, str],
) -> str:
    """What router/pair reads."""
    ways = paths(document)
    tracking = redundancy.tracking
    links = sorted(link for link in document.interfaces if not link.startswith(SYNC))
    value = {
        "name": document.name,
        "peer": redundancy.peer,
        "secret": redundancy.secret.get_secret_value(),
        "preempt": redundancy.preempt,
        "virtual_router_id": redundancy.virtual_router_id,
        "sync": {"link": redundancy.sync, "own": ways[redundancy.sync].address,
                 "peer": ways[redundancy.sync].peer},
        "paths": {link: {"own": way.address, "peer": way.peer, "source": way.source}
                  for link, way in ways.items()},
        "addresses": sorted([address.link, address.address] for address in virtual),
        "dhcp": {link: ways[link].address for link in sorted(document.dhcp) if link in ways},
        "links": links if tracking.links else [],
        "gateways": [[link, gateway] for link in links for gateway in document.interfaces[link].gateways]
        if tracking.gateways else [],
        "daemons": sorted(set(units) - set(_NOT_TRACKED)) if tracking.daemons else [],
        # Only where the kernel hasn't made them.
        "tunnels": dict(sorted(tunnels.items())) if tracking.daemons else {},
        "seconds": tracking.seconds,
    }  # fmt: skip
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def listeners(document: RouterDocument) -> Iterator[Listener]:
    redundancy = document.redundancy
    if redundancy is None:
        return
    ways = paths(document)
    for way in ways.values():
        yield Listener(way.address, VRRP, open=True)
    sync = ways[redundancy.sync]
    if redundancy.multicast is not None:
        yield Listener(_GROUPS[6 if ":" in sync.peer else 4], VRRP, open=True)
    yield Listener(sync.address, _UDP, (CONNECTIONS_PORT, CONNECTIONS_PORT))
    yield Listener(sync.address, _TCP, (STATE_PORT, STATE_PORT))


@dataclass(frozen=True, slots=True)
class Sync:
    """The sync link, as the packet filter has it."""

    link: str
    ip: str
    """nft's word for the family."""
    own: str
    peer: str


def sync(document: RouterDocument) -> Sync | None:
    redundancy = document.redundancy
    if redundancy is None:
        return None
    way = paths(document)[redundancy.sync]
    return Sync(redundancy.sync, "ip6" if ":" in way.peer else "ip", way.address, way.peer)


def elements(document: RouterDocument) -> Elements:
    """`pair4` and `pair6` are the addresses that one of the two has."""
    if document.redundancy is None:
        return {}
    found: Elements = {"pair4": {}, "pair6": {}}
    for link, interface in document.interfaces.items():
        if is_shared(document, link):
            for text in interface.addresses:
                address = text.partition("/")[0]
                found["pair6" if ":" in address else "pair4"][address] = None
    return found


def fetched_key(document: RouterDocument) -> str | None:
    """By which the metadata service notes passwords that were fetched, so that the other router knows them
    again and doesn't offer them: hexadecimal, and of no use for anything else."""
    if document.redundancy is None:
        return None
    secret = document.redundancy.secret.get_secret_value().encode()
    return hmac.new(secret, b"fetched passwords", hashlib.sha256).hexdigest()


def settled_checks(document: RouterDocument, checks: Iterable[Check]) -> Iterator[Check]:
    """Services on virtual addresses are asked on the router that has these."""
    if document.redundancy is None:
        yield from checks
        return
    for check in checks:
        if isinstance(check, DnsCheck | DhcpCheck | MetadataCheck):
            yield replace(check, virtual=True)
        else:
            yield check
    for subject in ("vrrp", "peer", "split-brain", "foreign-vrrp"):
        name = f"redundancy {subject}"
        yield HttpCheck(name=name, socket=f"{RUNTIME}/pair.sock", path=f"/health/{subject}")
