"""The closed list of things a machine state is made of.

A service turns a document into these; the engine (one module per kind) observes and changes them.
They are plain values: equal resources mean an equal machine, whatever order they came in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from appliance.admission import Admission, Admitted, Gate, Users
from appliance.datagrams import DatagramBalancer
from appliance.route import Route
from appliance.shaping import Shaping


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file with this content. `check` is the argv of the daemon's own checker; `{}` in it stands
    for the candidate's path, and an exit status other than 0 refuses the whole plan."""

    path: str
    content: str
    mode: int = 0o644
    group: str = "root"
    check: tuple[str, ...] = ()
    secret: bool = False
    """Its content is for no eyes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """A growing set of one-line records for a daemon, by key (a MAC address, a name).

    On disk it is `PATH/base`, one record a line, and `PATH/added/`, one small file per record that came
    since the base was written. A daemon that watches `added/` learns of one more record without a
    reload; when too many have come, or one changed or went, the base is written anew and the unit that
    has `PATH/base` in its `reload_on` is reloaded.
    """

    path: str
    records: Mapping[str, str]
    mode: int = 0o644
    group: str = "root"
    check: tuple[str, ...] = ()
    """As a File's; asked about all records, each behind `check_prefix`."""
    check_prefix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A systemd unit that runs and has loaded the files it depends on.

    The engine keeps the digests of what the running unit loaded: a changed `restart_on` file restarts
    it, a changed `reload_on` file reloads it. A card of one of its `links` that is plugged in anew restarts
    it, too: a daemon's sockets stay bound to the one that was pulled.
    """

    name: str
    restart_on: tuple[str, ...] = ()
    reload_on: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A network interface, found by MAC address and named for what it is."""

    name: str
    mac: str
    mtu: int = 1500


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiveQueues:
    """A link's received packets are worked on by all processors, where its card has fewer queues than there
    are processors (the kernel's receive packet steering, Documentation/networking/scaling.rst)."""

    link: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """An address with its prefix length (`10.1.1.1/24`) on a link. A label, of an IPv4 one, begins with the
    link's name (IFA_LABEL, rtnetlink(7)); who serves the link by its name doesn't serve what has one."""

    link: str
    address: str
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A policy routing rule (rtnetlink RTM_NEWRULE): look up `table` for packets from `source`, that came by
    `link` and have this `mark`. Routes no longer than `suppress_prefix_length` aren't found by it: 0 is the
    default route. `version` is that of IP where no source says it."""

    priority: int
    table: int
    source: str | None = None
    link: str | None = None
    mark: int | None = None
    suppress_prefix_length: int | None = None
    version: Literal[4, 6] = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Sysctl:
    """A kernel setting by its path under /proc/sys, e.g. `net/ipv4/ip_forward`."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Limit:
    """An nft limit object: a policer. In bytes: what may pass each second, and what may come at once beside
    a second's worth."""

    rate: int
    burst: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruleset:
    """An `inet` nft table that is wholly ours.

    `text` is its structure in nft syntax (sets, maps and chains, no elements), swapped in one
    transaction when it changes. `elements` holds what grows: set name -> element -> mapped value, or
    None for a plain set; both in the form that nft lists (`203.0.113.5 . tcp . 80`). `limits` are named
    objects that maps lead to. A set that is not named there at all is one that packets fill.
    """

    table: str
    text: str
    elements: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    admissions: Mapping[str, Admission] = field(default_factory=dict)
    """By set: what its elements let in. When one goes, the connections that it alone let in are ended."""
    admitted: tuple[Admitted, ...] = ()
    """What is let in whatever the sets hold."""
    gates: tuple[Gate, ...] = ()
    users: Users | None = None
    ended: tuple[str, ...] = ()
    """Sets, for IPv4 and IPv6, that are told the answers of TCP connections that were ended: source, port,
    destination, port. So that no answer begins them anew the other way round."""
    counting: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Sets whose elements count: the group in which counts go on in other elements, and what fields say."""
    required: str = ""
    """In nft syntax, what a kernel must take for the table to be of use; else it is left out."""
    modules: tuple[str, ...] = ()
    """Of the kernel, that it doesn't load by itself for the table's sake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FastPath:
    """Flows between these links that come to the chain `fast_path` of an `inet` table take the kernel's
    flowtable from then on, past all chains: nft(8), FLOWTABLES. `counted`: by the counters of the accounting
    table as well. Without a flowtable in the kernel they go on as others do."""

    table: str
    links: tuple[str, ...]
    counted: bool
    kept_out: str = ""
    """Changes with which flows don't come to that chain: then those in the flowtable have to come anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counter:
    """A traffic counter in the accounting table, which is never replaced: bytes and packets of a
    guest network (`of` a link name), of a public address, or of a guest by its address."""

    kind: Literal["network", "address", "guest"]
    of: str
    network: str = ""
    """A guest's; it is counted, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChecksumFill:
    """Complete the UDP checksums of what the appliance itself sends on a link from an address.

    Some guests' DHCP clients drop replies whose checksum a virtual NIC left for hardware to fill
    (RFC 768 allows none, but raw-socket clients check); nft has no expression for it.
    """

    link: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Leases:
    """The leases of a network's DHCP server, kept in the file at `path`: nobody holds an address that is
    reserved for another. `holders` is the MAC address by reserved address. `virtual`: the server's
    address may be another appliance's just now, and then the lease is that one's business."""

    link: str
    server: str
    path: str
    holders: Mapping[str, str]
    virtual: bool = False
    further: tuple[tuple[str, str], ...] = ()
    """Other networks on the link, each with the server's address there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Password:
    """A guest's password, kept on disk only until the guest has fetched it.

    `value` is the password itself, or `sealed:...`, its keyed digest, when the document comes from
    the appliance's own store; a password that was fetched already is never offered again.
    """

    network: str
    address: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendServer:
    """A server of a load balancer's. What can be changed while it runs is in `address`, `port`, `weight` (0
    to 256) and `maintenance`; all else is `options`, of which `number` is a digest, so that the running
    daemon can be asked for it."""

    number: int
    address: str
    port: int
    weight: int
    maintenance: bool
    options: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """A load balancer: its section of the daemon's configuration, and the servers that go into it."""

    text: str
    servers: Mapping[str, BackendServer]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadBalancers:
    """One HAProxy's configuration, of which servers and certificates change without it being loaded anew.
    `process` is its number, from 0.

    `text` is what comes before the sections; `certificates` (PEM: certificate, chain, key) are by their
    name in the directory that it names."""

    text: str
    backends: Mapping[str, Backend]
    process: int = 0
    certificates: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class WireGuardPeer:
    """One peer of a tunnel, by its public key. Keys are base64."""

    name: str
    """What people, counters and logs call it by."""
    public_key: str
    preshared_key: str = field(default="", repr=False)
    """Empty: none."""
    allowed_ips: frozenset[str]
    """CIDRs."""
    endpoint: str = ""
    """HOST:PORT, where the peer is found until its packets come from elsewhere; empty: nobody knows. A name
    is looked up where the tunnel's `resolvers` say."""
    persistent_keepalive: int = 0
    """Seconds; 0: none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WireGuard:
    """A WireGuard interface with its peers, the kernel's where it has WireGuard, else wireguard-go's. A peer
    that doesn't change keeps its session, whatever becomes of the others."""

    link: str
    private_key: str = field(repr=False)
    listen_port: int
    mtu: int
    resolvers: tuple[str, ...] = ()
    """DNS servers, as ADDRESS or ADDRESS#PORT, that know the names in endpoints."""
    peers: tuple[WireGuardPeer, ...] = ()

    @property
    def daemon(self) -> str:
        """The unit that it is where the kernel has no WireGuard."""
        return f"sysvm-wireguard@{self.link}.service"


def is_named(endpoint: str) -> bool:
    """Whether the host in HOST:PORT has to be looked up in the DNS."""
    host = endpoint.rpartition(":")[0]
    return not host.startswith("[") and not host.replace(".", "").isdecimal()


@dataclass(frozen=True, kw_only=True, slots=True)
class TunnelLink:
    """A link that traffic goes through to be encrypted by IPsec: the kernel's xfrm interface, whose number
    the connections that use it have as `if_id` (ip-link(8)). A kernel without leaves it to the IKE daemon,
    which makes `ipsec0` of its own; others aren't there then."""

    name: str
    number: int
    mtu: int = 1400


Setting = str | Sequence[str] | Mapping[str, "Setting"]
"""A value of the IKE daemon's own protocol (strongSwan's vici)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """An IKE peer as strongSwan's `load-conn` takes it. A changed one loses its security associations, and
    no other one does. The secret and the key of its name are part of it."""

    name: str
    settings: Mapping[str, Setting]
    link: str | None
    """Its TunnelLink; without that it isn't loaded. None: it is L2TP's, loaded where the kernel has that."""
    initiate: bool = False
    """Whether it is to be up always, and is begun from this side."""
    users: bool = False
    """Whether its peers are users, who have a session each: these outlive a change of what the next session
    begins with."""
    follows: bool = False
    """Its own address may be another machine's: it begins where that comes, and ends where it goes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedSecret:
    """What peers or users with these identities prove themselves with."""

    kind: Literal["IKE", "EAP"]
    name: str
    owners: tuple[str, ...]
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateKey:
    """A key of the appliance's own (PEM), for a certificate that a Connection names."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressPool:
    """Addresses that peers get; `attributes` are told along with them, as `load-pool` takes them."""

    name: str
    network: str
    attributes: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class L2tpServer:
    """Users by L2TP, each session a pppd. One of somebody who isn't among `users`, or with an address that
    isn't of the `pool`, is ended. On a kernel without PPP, L2TP or ESP all of it is left out."""

    unit: Unit
    users: tuple[str, ...]
    pool: str
    address: str = ""
    """Where users find it."""
    follows: bool = False
    """The address may be another machine's, and with it all sessions end."""


Resource = (
    File
    | Records
    | Unit
    | Link
    | ReceiveQueues
    | Address
    | Route
    | Rule
    | Sysctl
    | Ruleset
    | FastPath
    | Shaping
    | Counter
    | ChecksumFill
    | Leases
    | Password
    | LoadBalancers
    | DatagramBalancer
    | WireGuard
    | TunnelLink
    | Connection
    | SharedSecret
    | PrivateKey
    | AddressPool
    | L2tpServer
)
