"""Load balancers of tcp and http: HAProxy's configuration, and which servers it has. Those of udp are the
kernel's, `router/udp_balancing.py`."""

import hashlib
from collections.abc import Iterator, Mapping

from appliance import haproxy
from appliance.checks import Check, HttpCheck
from appliance.memo import per_item, per_key, per_sections
from appliance.resources import Backend, BackendServer, LoadBalancers, Resource, Unit
from appliance.template import milliseconds, render
from router.document import (
    Certificate,
    DefaultTimeouts,
    LoadBalancer,
    RouterDocument,
    Server,
    Stickiness,
    Timeouts,
)
from router.elements import PROTOCOLS
from router.listening import Listener
from router.paths import paths

UNIT = "sysvm-haproxy.service"
PEERS_PORT = 10240
"""Where a process tells its successor what is stuck to which server: on the loopback, or of a pair on the
sync link, where the other router is told, too."""
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
_NUMBERS = 2**31 - 1


def resources(document: RouterDocument) -> Iterator[Resource]:
    yield from _resources(document)


@per_sections("load_balancers", "load_balancing", "certificates", "interfaces", "redundancy")
def _resources(document: RouterDocument) -> tuple[Resource, ...]:
    balancers = _proxied(document)
    if not balancers:
        return ()
    text = render(
        "haproxy/global.cfg.j2",
        load_balancing=document.load_balancing,
        timeouts=_timeouts(document.load_balancing.timeouts),
        run=haproxy.RUN,
        certificates=haproxy.CERTIFICATES,
        localpeer=_localpeer(document),
        peers=_peers(document),
        peers_port=PEERS_PORT,
    )
    shown = {name for item in balancers.values() if item.tls for name in item.tls.certificates}
    files = _files(document.certificates)
    balanced = LoadBalancers(
        text=text,
        backends=dict(sorted(_backends(balancers).items())),
        certificates={f"{name}.pem": files[name] for name in sorted(shown)},
    )
    return balanced, Unit(name=UNIT)


def _proxied(document: RouterDocument) -> Mapping[str, LoadBalancer]:
    return {name: item for name, item in document.load_balancers.items() if item.mode != "udp"}


def listeners(document: RouterDocument) -> Iterator[Listener]:
    """Of those that the router's own process serves: what is led on to a guest is none."""
    yield from map(_listener, _proxied(document).values())
    redundancy = document.redundancy
    if redundancy is not None and _proxied(document):
        own = paths(document)[redundancy.sync].address
        yield Listener(own, PROTOCOLS["tcp"], (PEERS_PORT, PEERS_PORT))


@per_item
def _listener(item: LoadBalancer) -> Listener:
    return Listener(item.address, PROTOCOLS["tcp"], (item.port, item.port))


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
    if _proxied(document):
        yield HttpCheck(name="load balancing", socket=f"{haproxy.RUN}/health.sock", path="/")


@per_key
def _files(name: str, item: Certificate) -> str:
    parts = (item.certificate, item.chain or "", item.key.get_secret_value())
    return "".join(f"{part.strip()}\n" for part in parts if part)


@per_key
def _backends(name: str, item: LoadBalancer) -> Backend:
    options = _options(item)
    stickiness = item.stickiness or Stickiness()
    text = render(
        "haproxy/load_balancer.cfg.j2",
        title=name,
        item=item,
        address=f"[{item.address}]" if ":" in item.address else item.address,
        tls=_tls(item),
        balance=_ALGORITHMS[item.algorithm],
        timeouts=_timeouts(item.timeouts),
        stickiness=stickiness,
        cookie=_cookie(stickiness),
        options=options,
    )
    return Backend(text=text, servers=_servers(item, options))


def _tls(item: LoadBalancer) -> str:
    if item.tls is None:
        return ""
    certificates = "".join(f" crt {name}.pem" for name in item.tls.certificates)
    # Browsers speak HTTP/2 over TLS where it is offered (RFC 7301).
    alpn = " alpn h2,http/1.1" if item.mode == "http" else ""
    return f" ssl{certificates} ssl-min-ver TLSv{item.tls.minimum_version}{alpn}"


def _timeouts(timeouts: Timeouts | DefaultTimeouts) -> list[str]:
    return [
        f"timeout {word} {milliseconds(seconds)}"
        for field, word in _TIMEOUTS.items()
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


def _options(item: LoadBalancer) -> str:
    """What each server of a load balancer's has; a change of it is one of the whole."""
    words = []
    if item.check is not None:
        check = item.check
        words += ["check", "inter", milliseconds(check.interval), "fall", str(check.fall)]
        words += ["rise", str(check.rise)]
        words += ["port", str(check.port)] if check.port else []
    if item.proxy_protocol is not None:
        words.append("send-proxy" if item.proxy_protocol == "v1" else "send-proxy-v2")
        words += ["check-send-proxy"] if item.check is not None else []
    return " ".join(words)


def _servers(item: LoadBalancer, options: str) -> dict[str, BackendServer]:
    sticky = item.stickiness is not None and item.stickiness.cookie is not None
    found: dict[str, BackendServer] = {}
    taken: set[int] = set()
    for name, server in sorted(item.servers.items()):
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
