"""What is refused of load balancers and their certificates, with the place and the sentence."""

from typing import Any

from tests.unit.router.refused import Case


def balancer(**fields: Any) -> dict[str, Any]:
    values = {"address": "203.0.113.5", "port": 7, "servers": {"s": {"address": "10.1.1.10"}}, **fields}
    return {"load_balancers": {"new": values}}


def server(**fields: Any) -> dict[str, Any]:
    return balancer(servers={"s": fields})


CASES: list[Case] = [
    (
        balancer(address="203.0.113.99"),
        "/load_balancers/new/address",
        "Load balancer 203.0.113.99:7/tcp: 203.0.113.99 is no address of a public, guest or private",
    ),
    (balancer(address="203.0.113.6"), "/load_balancers/new/address", "has static NAT for all its ports"),
    (balancer(port=443), "/load_balancers/new/port", "load balancer shop has this address and port"),
    (balancer(port=8080), "/load_balancers/new/port", "the port is port forward web's"),
    (balancer(port=27003, mode="udp"), "/load_balancers/new/port", "the port is port forward game's"),
    (
        balancer(address="10.1.1.1", port=80),
        "/load_balancers/new/port",
        "the network's own services have this port",
    ),
    (
        balancer(address="10.1.1.1", port=53, mode="udp"),
        "/load_balancers/new/port",
        "the network's own services have this port",
    ),
    (
        balancer(source_cidrs=["192.0.2.0/24", "fd00::/8"]),
        "/load_balancers/new/source_cidrs/1",
        "nobody comes from fd00::/8 to an address of the other family",
    ),
    (
        balancer(tls={"certificates": ["www", "gone"]}),
        "/load_balancers/new/tls/certificates",
        "there is no certificate gone",
    ),
    (balancer(mode="udp", tls={"certificates": ["www"]}), "/load_balancers/new/tls", "udp has no tls"),
    (balancer(mode="udp", check={}), "/load_balancers/new/check", "udp has no check"),
    (
        balancer(mode="udp", proxy_protocol="v2"),
        "/load_balancers/new/proxy_protocol",
        "udp has no proxy protocol",
    ),
    (
        balancer(mode="udp", max_connections=1),
        "/load_balancers/new/max_connections",
        "udp has no max connections",
    ),
    (
        balancer(mode="udp", algorithm="least-connections"),
        "/load_balancers/new/algorithm",
        "no connections that could be counted",
    ),
    (balancer(stickiness={}), "/load_balancers/new/stickiness", "one of cookie, source and header"),
    (
        balancer(mode="http", stickiness={"source": {}, "header": {"name": "A"}}),
        "/load_balancers/new/stickiness",
        "one of cookie, source and header",
    ),
    (
        balancer(stickiness={"cookie": {"name": "A"}}),
        "/load_balancers/new/stickiness/cookie",
        "only http has a cookie",
    ),
    (
        balancer(stickiness={"header": {"name": "A"}}),
        "/load_balancers/new/stickiness/header",
        "only http has a header",
    ),
    (
        server(address="10.9.9.9"),
        "/load_balancers/new/servers/s/address",
        "server s: 10.9.9.9 is on no guest network",
    ),
    (
        server(address="10.1.1.1"),
        "/load_balancers/new/servers/s/address",
        "server s: 10.1.1.1 is on no guest network",
    ),
    (
        balancer(servers={"a": {"address": "10.1.1.10"}, "b": {"address": "10.1.1.10", "port": 7}}),
        "/load_balancers/new/servers/b/address",
        "server b has the address and port of server a",
    ),
    (
        balancer(mode="udp", servers={"s": {"address": "fd00:1::9"}}),
        "/load_balancers/new/servers/s/address",
        "udp can't be led to an address of the other family",
    ),
    (
        balancer(mode="udp", servers={"s": {"address": "10.1.1.10", "max_connections": 1}}),
        "/load_balancers/new/servers/s/max_connections",
        "udp has no max connections",
    ),
    (
        balancer(
            mode="udp",
            servers={f"s{n}": {"address": f"10.1.16.{n % 250 + 2}", "port": n + 1} for n in range(257)},
        ),
        "/load_balancers/new/servers",
        "udp can have 256 servers at most",
    ),
]
