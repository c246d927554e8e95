"""Load balancers of tcp and http: HAProxy's configuration, and which servers it has. Those of udp are the
kernel's, `router/udp_balancing.py`."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from appliance import haproxy
from appliance.checks import Check, HttpCheck
from appliance.memo import per_item, per_key, per_sections
from appliance.resources import Backend, BackendServer, LoadBalancers, Resource, Sysctl, Unit
from appliance.template import milliseconds, render
from router import http_rules, transparent
from router.document import (
    Certificate,
    DefaultTimeouts,
    LoadBalancer,
    RouterDocument,
    Server,
    ServerGroup,
    ServerTls,
    Stickiness,
    Timeouts,
)
from router.elements import PROTOCOLS
from router.listening import Listener
from router.paths import paths

PEERS_PORT = 10240
"""Where the first process tells its successor what is stuck to which server, and the next ones behind it: on
the loopback, or of a pair on the sync link, where the other router is told, too."""
_ALGORITHMS = {"round-robin": "roundrobin", "least-connections": "leastconn", "source": "source"}
_TIMEOUTS = {
    "connect": "connect",
    "client": "client",
    "server": "server",
    "queue": "queue",
    "tunnel": "tunnel",
    "request": "http-request",
    "keep_alive": "http-keep-alive",
}
_SERVERS_TIMEOUTS = ("connect", "server", "queue", "tunnel")
"""Those that are no clients' business."""
_NUMBERS = 2**31 - 1


def resources(document: RouterDocument) -> Iterator[Resource]:
    yield from _resources(document)


@per_sections("load_balancers", "load_balancing", "certificates", "interfaces", "redundancy")
def _resources(document: RouterDocument) -> tuple[Resource, ...]:
    balancers = _proxied(document)
    if not balancers:
        return ()
    files, parts = _files(document.certificates), _parts(balancers)
    shares = _shares(balancers, document.load_balancing.processes)
    # Who waits to be accepted as one HAProxy gives up an address is accepted by the one that has it now
    # (Linux's ip-sysctl).
    moving = Sysctl(name="net/ipv4/tcp_migrate_req", value="1")
    return moving, *(
        resource
        for number in sorted(shares)
        for resource in (
            _process(document, number, {name: parts[name] for name in shares[number]}, files),
            Unit(name=haproxy.Place(number).unit),
        )
    )


def _process(
    document: RouterDocument, number: int, parts: Mapping[str, "_Part"], files: Mapping[str, str]
) -> LoadBalancers:
    """One HAProxy with its share of the load balancers."""
    place, settings = haproxy.Place(number), document.load_balancing
    text = render(
        "haproxy/global.cfg.j2",
        load_balancing=settings,
        max_connections=-(-settings.max_connections // settings.processes),
        timeouts=_timeouts(settings.timeouts),
        run=place.run,
        certificates=haproxy.CERTIFICATES,
        localpeer=_localpeer(document),
        peers=_peers(document),
        peers_port=PEERS_PORT + number,
        transparent=transparent.is_used(document),
    )
    shown = {name for part in parts.values() for name in part.certificates}
    return LoadBalancers(
        text=text,
        backends=dict(sorted(each for part in parts.values() for each in part.backends)),
        certificates={
            **{f"{name}.pem": files[name] for name in sorted(shown)},
            **dict(sorted(file for part in parts.values() for file in part.authorities)),
        },
        process=number,
    )


def _shares(balancers: Mapping[str, LoadBalancer], processes: int) -> dict[int, list[str]]:
    """The names of those that each process serves; one that would serve none isn't there."""
    found: dict[int, list[str]] = {}
    for name in balancers:
        found.setdefault(process_of(name, processes), []).append(name)
    return found


def process_of(name: str, processes: int) -> int:
    """Which one serves a load balancer, from 0: by its name alone, for the same is so on both of a pair."""
    if processes == 1:
        return 0
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % processes


def _proxied(document: RouterDocument) -> Mapping[str, LoadBalancer]:
    return {name: item for name, item in document.load_balancers.items() if item.mode != "udp"}


def listeners(document: RouterDocument) -> Iterator[Listener]:
    """Of those that the router's own process serves: what is led on to a guest is none."""
    for name, item in _proxied(document).items():
        yield _listener(item, name)
    redundancy = document.redundancy
    if redundancy is not None and _proxied(document):
        own = paths(document)[redundancy.sync].address
        last = PEERS_PORT + document.load_balancing.processes - 1
        yield Listener(own, PROTOCOLS["tcp"], (PEERS_PORT, last))


@per_item
def _listener(item: LoadBalancer, name: str) -> Listener:
    at = ("load_balancers", name)
    return Listener(item.address, PROTOCOLS["tcp"], (item.port, item.port), at=at)


def _localpeer(document: RouterDocument) -> str:
    return "router" if document.redundancy is None else document.name


def _peers(document: RouterDocument) -> list[tuple[str, str]]:
    """Names and addresses of who knows what is stuck to which server."""
    redundancy = document.redundancy
    if redundancy is None:
        return [(_localpeer(document), "127.0.0.1")]
    sync = paths(document)[redundancy.sync]
    return [(document.name, sync.address), (redundancy.peer, sync.peer)]


def checks(document: RouterDocument) -> Iterator[Check]:
    processes = document.load_balancing.processes
    for number in sorted(_shares(_proxied(document), processes)):
        name = "load balancing" if processes == 1 else f"load balancing, process {number}"
        yield HttpCheck(name=name, socket=str(haproxy.Place(number).health), path="/")


@per_key
def _files(name: str, item: Certificate) -> str:
    parts = (item.certificate, item.chain or "", item.key.get_secret_value())
    return "".join(f"{part.strip()}\n" for part in parts if part)


class _Part(NamedTuple):
    """What one load balancer is of the whole."""

    backends: tuple[tuple[str, Backend], ...]
    """Its own, and each of its groups by LOAD-BALANCER:GROUP."""
    authorities: tuple[tuple[str, str], ...]
    """That servers' certificates are of: files' names, and PEM."""
    certificates: tuple[str, ...]
    """Names of those that are shown to clients."""


@per_key
def _parts(name: str, item: LoadBalancer) -> _Part:
    groups = [(title := f"{name}:{group}", _group(title, each, item)) for group, each in item.groups.items()]
    spoken = [group.server_tls for group in (item, *item.groups.values())]
    return _Part(
        backends=((name, _backend(name, item)), *groups),
        authorities=tuple(_authority(tls) for tls in spoken if tls is not None and tls.verify),
        certificates=tuple(item.tls.certificates) if item.tls is not None else (),
    )


def _authority(tls: ServerTls) -> tuple[str, str]:
    """Another one is another file: servers that are added while a process runs would keep the old."""
    text = f"{(tls.authority or '').strip()}\n"
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.ca", text


def _backend(name: str, item: LoadBalancer) -> Backend:
    options = _options(item, item)
    text = render(
        "haproxy/load_balancer.cfg.j2",
        title=name,
        item=item,
        address=_host(item),
        tls=_tls(item),
        timeouts=_timeouts(item.timeouts),
        rules=list(http_rules.lines(name, item)),
        choice=_choice(item, item, options),
    )
    return Backend(text=text, servers=_servers(item, item, options))


def _group(title: str, group: ServerGroup, item: LoadBalancer) -> Backend:
    options = _options(group, item)
    text = render(
        "haproxy/group.cfg.j2",
        title=title,
        item=item,
        address=_host(item),
        timeouts=_timeouts(item.timeouts, _SERVERS_TIMEOUTS),
        choice=_choice(group, item, options),
    )
    return Backend(text=text, servers=_servers(group, item, options))


@dataclass(frozen=True, slots=True)
class _Choice:
    """How one of a group's servers is chosen and reached, for the templates."""

    group: ServerGroup
    balance: str
    stickiness: Stickiness
    cookie: str
    authority: str
    source: str
    options: str


def _choice(group: ServerGroup, item: LoadBalancer, options: str) -> _Choice:
    stickiness = group.stickiness or Stickiness()
    tls = group.server_tls
    return _Choice(
        group=group,
        balance=_ALGORITHMS[group.algorithm],
        stickiness=stickiness,
        cookie=_cookie(stickiness),
        authority=_authority(tls)[0] if tls is not None and tls.verify else "",
        source=transparent.source(item) if item.transparent else "",
        options=options,
    )


def _host(item: LoadBalancer) -> str:
    return f"[{item.address}]" if ":" in item.address else item.address


def _tls(item: LoadBalancer) -> str:
    if item.tls is None:
        return ""
    certificates = "".join(f" crt {name}.pem" for name in item.tls.certificates)
    # Browsers speak HTTP/2 over TLS where it is offered (RFC 7301).
    alpn = ""
    if item.mode == "http":
        alpn = f" alpn {'h2,' if item.tls.http2 else ''}http/1.1"
    return f" ssl{certificates} ssl-min-ver TLSv{item.tls.minimum_version}{alpn}"


def _timeouts(timeouts: Timeouts | DefaultTimeouts, fields: Iterable[str] = _TIMEOUTS) -> list[str]:
    return [
        f"timeout {_TIMEOUTS[field]} {milliseconds(seconds)}"
        for field in fields
        if (seconds := getattr(timeouts, field)) is not None
    ]


def _cookie(stickiness: Stickiness) -> str:
    cookie = stickiness.cookie
    if cookie is None:
        return ""
    words = [cookie.name, cookie.mode]
    if cookie.mode == "insert":
        words += [word for word in ("indirect", "nocache", "postonly") if getattr(cookie, word)]
        words += ["domain", cookie.domain] if cookie.domain else []
    return " ".join(words)


def _options(group: ServerGroup, item: LoadBalancer) -> str:
    """What each server of a group's has; a change of it is one of the whole."""
    words = []
    if group.check is not None:
        check = group.check
        words += ["check", "inter", milliseconds(check.interval), "fall", str(check.fall)]
        words += ["rise", str(check.rise)]
        words += ["port", str(check.port)] if check.port else []
    if group.proxy_protocol is not None:
        words.append("send-proxy" if group.proxy_protocol == "v1" else "send-proxy-v2")
        words += ["check-send-proxy"] if group.check is not None else []
    if group.server_tls is not None:
        words += _server_tls(group.server_tls, checked=group.check is not None, http=item.mode == "http")
    return " ".join(words)


def _server_tls(tls: ServerTls, *, checked: bool, http: bool) -> Iterator[str]:
    yield "ssl ssl-min-ver TLSv1.2"
    if tls.verify:
        yield f"verify required ca-file {_authority(tls)[0]} verifyhost {tls.name}"
    else:
        yield "verify none"
    if tls.name:
        yield f"sni str({tls.name})"
    if http and tls.http2:
        yield "alpn h2,http/1.1"
    if checked:
        yield "check-ssl"
        yield from [f"check-sni {tls.name}"] if tls.name else []
        yield from ["check-alpn h2,http/1.1"] if http and tls.http2 else []


def _servers(group: ServerGroup, item: LoadBalancer, options: str) -> dict[str, BackendServer]:
    sticky = group.stickiness is not None and group.stickiness.cookie is not None
    found: dict[str, BackendServer] = {}
    taken: set[int] = set()
    for name, server in sorted(group.servers.items()):
        words = [options, f"cookie {name}" if sticky else "", *_own_options(server)]
        text = " ".join(filter(None, words))
        number = _number(f"{name} {text}")
        while number in taken:
            number = number % _NUMBERS + 1
        taken.add(number)
        found[name] = BackendServer(
            number=number,
            address=server.address,
            port=server.port or item.port,
            weight=0 if server.state == "drain" else server.weight,
            maintenance=server.state == "maintenance",
            options=text,
        )
    return found


def _own_options(server: Server) -> Iterator[str]:
    if server.backup:
        yield "backup"
    if server.max_connections:
        yield f"maxconn {server.max_connections}"


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % _NUMBERS + 1
