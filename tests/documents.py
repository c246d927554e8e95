"""Random valid documents, of few names and addresses, so that two of them have much in common."""

import base64
import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.examples import problems

Values = dict[str, Any]
_NETWORKS = {"guest0": ("10.1.1", 24), "guest1": ("10.1.2", 25)}
_PUBLIC = ["203.0.113.5", "203.0.113.6", "203.0.113.7"]
_NAMES = st.sampled_from(["a", "b", "c", "d"])
_CIDRS = st.sampled_from(
    ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.64/26", "198.51.100.0/23", "198.51.100.7/32"]
)
_PORTS = st.tuples(st.sampled_from([1, 22, 79, 80, 90]), st.sampled_from([0, 0, 1, 15, 60000])).map(
    lambda span: str(span[0]) if not span[1] else f"{span[0]}-{span[0] + span[1]}"
)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Values]:
    """Some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def _mac(network: str, number: int) -> str:
    return f"02:00:0a:01:0{network[-1]}:{number:02x}"


def _guest(network: str) -> st.SearchStrategy[str]:
    return st.integers(10, 16).map(lambda number: f"{_NETWORKS[network][0]}.{number}")


def _options(network: str) -> st.SearchStrategy[Values]:
    guests = st.lists(_guest(network), max_size=2)
    names = st.lists(st.sampled_from(["a.example", "b.example"]), max_size=2)
    route = st.fixed_dictionaries(
        {"destination": st.sampled_from(["0.0.0.0/0", "10.8.0.0/16"]), "gateway": _guest(network)}
    )
    return _some(
        router=_guest(network), dns=guests, domain=st.just("o.example"), search=names, ntp=guests,
        mtu=st.sampled_from([1300, 1450]), routes=st.lists(route, max_size=2),
        extra=st.dictionaries(st.sampled_from(["66", "67"]), st.sampled_from(["x", "y z,1"])),
    )  # fmt: skip


@st.composite
def _dhcp(draw: st.DrawFn, network: str) -> Values:
    numbers = draw(st.lists(st.integers(10, 16), unique=True, max_size=4))
    reservations = {}
    for number in numbers:
        rest = _some(
            hostname=st.just(f"vm{number}"), default_gateway=st.booleans(),
            lease_seconds=st.just(600), options=_options(network),
        )  # fmt: skip
        address = f"{_NETWORKS[network][0]}.{number}"
        reservations[_mac(network, number)] = {"address": address, **draw(rest)}
    rest = _some(lease_seconds=st.sampled_from([300, 7200]), options=_options(network))
    prefix = _NETWORKS[network][0]
    ranges = st.sampled_from([[], [{"first": f"{prefix}.100", "last": f"{prefix}.110"}]])
    return {"reservations": reservations, "ranges": draw(ranges), **draw(rest)}


def _dns(network: str, others: list[str]) -> st.SearchStrategy[Values]:
    names = st.sampled_from(["n1", "n2", "n3.example"])
    upstream = st.sampled_from([{"address": "203.0.113.53"}, {"address": "2001:db8::53", "port": 5353}])
    return st.builds(
        lambda rest: {"domain": f"{network}.example", **rest},
        _some(
            upstreams=st.lists(upstream, max_size=2), networks=st.just(others),
            records=st.dictionaries(names, st.sampled_from([["10.9.9.9"], ["10.9.9.8", "fd00::8"]])),
            aliases=st.dictionaries(st.sampled_from(["alias1", "alias2"]), names),
            texts=st.dictionaries(names, st.sampled_from(["v=1", "a b,c"])),
            mail=st.dictionaries(names, st.just({"target": "n1"})),
        ),
    )  # fmt: skip


_MATCHES = st.one_of(
    st.builds(
        lambda protocol, ports: {"protocol": protocol, **ports},
        st.sampled_from(["tcp", "udp"]),
        _some(ports=_PORTS),
    ),
    _some(icmp_type=st.sampled_from([0, 8])).map(lambda rest: {"protocol": "icmp", **rest}),
    st.sampled_from([{"protocol": "all"}, {"protocol": 47}, {"protocol": 48}]),
)
_VERDICTS = st.sampled_from(["accept", "drop"])


@st.composite
def _ingress(draw: st.DrawFn) -> Values:
    rest = draw(_some(source_cidrs=st.lists(_CIDRS, max_size=3), log=st.booleans()))
    return {"verdict": draw(_VERDICTS), "address": draw(st.sampled_from(_PUBLIC)), **draw(_MATCHES), **rest}


@st.composite
def _egress(draw: st.DrawFn, network: str) -> Values:
    own = st.sampled_from([f"{_NETWORKS[network][0]}.0/26", f"{_NETWORKS[network][0]}.0/25"])
    rest = _some(
        destination_cidrs=st.lists(_CIDRS, max_size=2), source_cidrs=st.lists(own, max_size=2),
        log=st.booleans(),
    )  # fmt: skip
    return {"verdict": draw(_VERDICTS), **draw(_MATCHES), **draw(rest)}


@st.composite
def _forward(draw: st.DrawFn, networks: list[str]) -> Values:
    found = {
        "address": draw(st.sampled_from(_PUBLIC)), "protocol": draw(st.sampled_from(["tcp", "udp"])),
        "target": draw(st.sampled_from(networks).flatmap(_guest)),
        **draw(_some(source_cidrs=st.lists(_CIDRS, max_size=2))),
    }  # fmt: skip
    first, length = draw(st.sampled_from([22, 80, 90, 100])), draw(st.sampled_from([0, 0, 1, 8]))
    shift = draw(st.sampled_from([None, 0, 1000]))
    for name, start in (("ports", first), ("target_ports", None if shift is None else first + shift)):
        if start is not None:
            found[name] = str(start) if not length else f"{start}-{start + length}"
    return found


@st.composite
def _udp_balancer(draw: st.DrawFn, networks: list[str], port: int) -> Values:
    """Of udp: those of HAProxy need HAProxy."""
    addresses = draw(st.lists(st.sampled_from(networks).flatmap(_guest), unique=True, max_size=3))
    rest = _some(
        weight=st.sampled_from([1, 7]), backup=st.booleans(), port=st.just(53),
        state=st.sampled_from(["ready", "drain", "maintenance"]),
    )  # fmt: skip
    servers = {f"s{address}": {"address": address, **draw(rest)} for address in addresses}
    more = _some(
        source_cidrs=st.lists(_CIDRS, max_size=2), stickiness=st.just({"source": {}}),
        algorithm=st.sampled_from(["round-robin", "source"]),
    )  # fmt: skip
    return {"address": _PUBLIC[0], "port": port, "mode": "udp", "servers": servers, **draw(more)}


@st.composite
def _metadata(draw: st.DrawFn, network: str, reserved: Values) -> Values:
    guests = {}
    for number in draw(st.lists(st.integers(10, 16), unique=True, max_size=3)):
        rest = _some(
            hostname=st.just("h.example"), user_data=st.just("aGVsbG8="),
            public_keys=st.just(["ssh-ed25519 AAAA x"]), keys=st.just({"zone": "é"}),
            password=st.sampled_from(["one", "two"]),
        )  # fmt: skip
        address = f"{_NETWORKS[network][0]}.{number}"
        place = {} if _mac(network, number) in reserved and draw(st.booleans()) else {"address": address}
        guests[_mac(network, number)] = {"instance_id": f"i-{number}", **place, **draw(rest)}
    return {"guests": guests, **draw(_some(tokens=st.sampled_from(["optional", "required"])))}


_RATE = st.sampled_from(
    [
        {"rate": 10_000_000},
        {"rate": 80_000_000, "burst": 1_000_000},
        {"rate": 10_000_000, "mode": "policed"},
    ]
)
_LIMIT = _some(
    sent=_RATE,
    received=_RATE,
    connections=st.sampled_from([10, 1000]),
    new_connections_per_second=st.sampled_from([5, 50]),
)


def _limits(networks: list[str]) -> st.SearchStrategy[Values]:
    return _some(
        usual=_some(
            connections=st.sampled_from([None, 100]), dns_packets_per_second=st.sampled_from([None, 9])
        ),
        guests=st.dictionaries(_guest(networks[0]), _LIMIT, max_size=3),
        networks=st.dictionaries(st.sampled_from(networks), _LIMIT, max_size=2),
        addresses=st.dictionaries(st.sampled_from(_PUBLIC), _LIMIT, max_size=2),
    )


def _key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


@st.composite
def _tunnel(draw: st.DrawFn, networks: list[str]) -> Values:
    reach = st.lists(st.sampled_from([*networks, "vpn0"]), unique=True)
    peers = {}
    for number in draw(st.lists(st.integers(2, 6), unique=True, max_size=4)):
        further = [f"10.5{number}.0.0/16", f"fd00:5{number}::/48"]
        networks_of = [f"10.99.0.{number}/32", *draw(st.sampled_from([[], further]))]
        rest = _some(
            reach=reach, preshared_key=st.just(_key(90)), persistent_keepalive=st.just(25),
            endpoint=st.sampled_from(["192.0.2.7:51820", "[2001:db8::7]:51820"]),
        )  # fmt: skip
        peers[f"p{number}"] = {"public_key": _key(number), "allowed_ips": networks_of, **draw(rest)}
    return {
        "private_key": _key(77),
        "listen": {"addresses": [_PUBLIC[0]]},
        "addresses": ["10.99.0.1/24"],
        "peers": peers,
        **draw(_some(reach=reach, source_nat=st.just([_PUBLIC[0]]), mtu=st.just(1380))),
    }


@st.composite
def documents(draw: st.DrawFn) -> Values:
    """JSON values of a valid router's document."""
    networks = draw(st.sampled_from([["guest0"], ["guest0", "guest1"], ["guest1"]]))
    interfaces: Values = {
        network: {
            "mac": _mac(network, 1),
            "addresses": [f"{_NETWORKS[network][0]}.1/{_NETWORKS[network][1]}"],
            **draw(_some(mtu=st.sampled_from([1400, 1500]))),
        }
        for network in networks
    }
    interfaces["public0"] = {
        "mac": "02:00:cb:00:71:05",
        "addresses": [f"{address}/24" for address in _PUBLIC],
        **draw(_some(gateway=st.just("203.0.113.1"))),
    }
    names = {network: draw(_dns(network, [])) for network in networks if draw(st.booleans())}
    if len(names) == 2 and draw(st.booleans()):
        names["guest0"]["networks"] = ["guest1"]
    forwards: Values = {}
    for name, forward in draw(st.dictionaries(_NAMES, _forward(networks), max_size=3)).items():
        if not _overlaps(forward, forwards.values()):
            forwards[name] = forward
    taken = {forward["address"] for forward in forwards.values()}
    free = [address for address in _PUBLIC[1:] if address not in taken]
    static = {free[0]: {"target": draw(_guest(networks[0]))}} if free and draw(st.booleans()) else {}
    gateways = [f"{_NETWORKS[networks[0]][0]}.{number}" for number in (100, 101)]
    hops = {name: {"gateway": address} for name, address in zip("ab", gateways, strict=True)}
    route = st.builds(
        lambda destination, ways, watch: {"destination": destination, **ways, **watch},
        st.sampled_from(["10.9.0.0/16", "10.0.0.0/8", "10.9.1.0/24"]),
        st.sampled_from([{"gateway": gateways[0]}, {"next_hops": hops}]),
        _some(watch=st.sampled_from([{}, {"probe": "ping", "losses": 5}])),
    )
    dhcp = {network: draw(_dhcp(network)) for network in networks if draw(st.booleans())}
    document = {
        "role": "router", "name": draw(st.sampled_from(["r1", "r2"])), "generation": draw(st.integers(1, 5)),
        "interfaces": interfaces,
        "routes": draw(st.dictionaries(_NAMES, route, max_size=1)),
        "dhcp": dhcp,
        "dns": names,
        "source_nat": {
            network: {"address": _PUBLIC[0]} for network in networks if draw(st.booleans())
        },
        "static_nat": static,
        "port_forwards": forwards,
        "load_balancers": {
            name: draw(_udp_balancer(networks, 5300 + number))
            for number, name in enumerate(("names", "time"))
            if draw(st.booleans())
        },
        "firewall": {
            "ingress": draw(_some(policy=_VERDICTS, rules=st.dictionaries(_NAMES, _ingress(), max_size=4))),
            "egress": {
                network: draw(
                    _some(policy=_VERDICTS, rules=st.dictionaries(_NAMES, _egress(network), max_size=3))
                )
                for network in networks
            },
        },
        "metadata": {
            network: draw(_metadata(network, dhcp.get(network, {}).get("reservations", {})))
            for network in networks
            if draw(st.booleans())
        },
        **draw(
            _some(
                accounting=_some(networks=st.booleans(), addresses=st.booleans(), guests=st.booleans()),
                limits=_limits(networks),
                alg=_some(ftp=_some(ports=st.sampled_from([[21], [21, 2121]])), tftp=st.just({})),
            )
        ),


        "wireguard": {"vpn0": draw(_tunnel(networks))} if draw(st.booleans()) else {},
    }  # fmt: skip
    refused = problems(document)
    assert not refused, refused
    return document


def _overlaps(forward: Values, others: Any) -> bool:
    def span(ports: str) -> tuple[int, int]:
        first, _, last = ports.partition("-")
        return int(first), int(last or first)

    first, last = span(forward["ports"])
    return any(
        (forward["address"], forward["protocol"]) == (other["address"], other["protocol"])
        and first <= span(other["ports"])[1]
        and span(other["ports"])[0] <= last
        for other in others
    )


@st.composite
def patches(draw: st.DrawFn, before: Values, after: Values) -> Values:
    """A merge patch that takes one thing of `before` away, or makes it what it is in `after`."""
    key = draw(st.sampled_from(sorted(before.keys() | after.keys())))
    old, new = before.get(key), after.get(key)
    if isinstance(old, Mapping) and isinstance(new, Mapping) and (old or new) and draw(st.integers(0, 4)):
        return {key: draw(patches(dict(old), dict(new)))}
    return {key: None if new is None or not draw(st.integers(0, 4)) else copy.deepcopy(new)}
