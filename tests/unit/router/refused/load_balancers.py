"""What is refused of load balancers and their certificates, with the place and the sentence."""

from typing import Any

from tests.examples import example
from tests.unit.router.refused import Case


def balancer(**fields: Any) -> dict[str, Any]:
    values = {"address": "203.0.113.5", "port": 7, "servers": {"s": {"address": "10.1.1.10"}}, **fields}
    return {"load_balancers": {"new": values}}


def server(**fields: Any) -> dict[str, Any]:
    return balancer(servers={"s": fields})


def http(**fields: Any) -> dict[str, Any]:
    return balancer(mode="http", **fields)


def rules(**fields: Any) -> dict[str, Any]:
    groups = {"api": {"servers": {"s": {"address": "10.1.1.10"}}}}
    return http(groups=groups, rules={"r": {"number": 1, **fields}})


ISSUER = example("everything")["certificates"]["www"]["chain"]


def secured(**fields: Any) -> dict[str, Any]:
    return balancer(server_tls=fields)


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
    (
        balancer(mode="udp", transparent=True),
        "/load_balancers/new/transparent",
        "udp's servers see the client's address anyway",
    ),
    (
        balancer(transparent=True, servers={"s": {"address": "fd00:1::9"}}),
        "/load_balancers/new/servers/s/address",
        "server s: it can't be shown a client's address of the other family",
    ),
    (
        balancer(address="10.1.1.1", transparent=True),
        "/load_balancers/new/servers/s/address",
        "server s: it would answer clients of its own network past the router",
    ),
    (balancer(groups={"g": {}}), "/load_balancers/new/groups", "only http has groups"),
    (
        balancer(rules={"r": {"number": 1, "redirect": {"port": 9}}}),
        "/load_balancers/new/rules",
        "only http has rules",
    ),
    (
        http(groups={"g": {"servers": {"s": {"address": "10.9.9.9"}}}}),
        "/load_balancers/new/groups/g/servers/s/address",
        "group g: server s: 10.9.9.9 is on no guest network",
    ),
    (
        http(groups={"g": {"stickiness": {}}}),
        "/load_balancers/new/groups/g/stickiness",
        "group g: it is one of cookie, source and header",
    ),
    (rules(), "/load_balancers/new/rules/r", "rule r: it is one of group and redirect"),
    (
        rules(group="api", redirect={"scheme": "https"}),
        "/load_balancers/new/rules/r",
        "rule r: it is one of group and redirect",
    ),
    (rules(group="gone"), "/load_balancers/new/rules/r/group", "there is no group gone"),
    (rules(redirect={}), "/load_balancers/new/rules/r/redirect", "where the client is already"),
    (
        rules(redirect={"scheme": "http", "port": 7}),
        "/load_balancers/new/rules/r/redirect",
        "where the client is already",
    ),
    (
        http(rules={name: {"number": 3, "redirect": {"port": 9}} for name in "ab"}),
        "/load_balancers/new/rules/b/number",
        "rule b: number 3 is a's, too",
    ),
    (rules(group="api", hosts=["*"]), "/load_balancers/new/rules/r/hosts/0", "pattern"),
    (rules(group="api", hosts=["a.*.example"]), "/load_balancers/new/rules/r/hosts/0", "pattern"),
    (rules(group="api", paths=["shop"]), "/load_balancers/new/rules/r/paths/0", "pattern"),
    (rules(group="api", paths=["/a?b"]), "/load_balancers/new/rules/r/paths/0", "pattern"),
    (rules(group="api", headers={"X-A": "a b"}), "/load_balancers/new/rules/r/headers/X-A", "pattern"),
    (rules(redirect={"status": 200}), "/load_balancers/new/rules/r/redirect/status", "301, 302"),
    (secured(name="a.example"), "/load_balancers/new/server_tls", "takes an authority and a name"),
    (secured(authority=ISSUER), "/load_balancers/new/server_tls", "takes an authority and a name"),
    (
        secured(verify=False, authority="-----BEGIN X-----\nAAAA\n-----END X-----\n"),
        "/load_balancers/new/server_tls/authority",
        "no authority has a say where nothing is verified",
    ),
    (
        secured(name="a.example", authority="-----BEGIN X-----\nAAAA\n-----END X-----\n"),
        "/load_balancers/new/server_tls/authority",
        "there is no certificate in PEM",
    ),
    (secured(verify=False, http2=True), "/load_balancers/new/server_tls/http2", "only http has HTTP/2"),
    (
        balancer(mode="udp", server_tls={"verify": False}),
        "/load_balancers/new/server_tls",
        "udp has no server tls",
    ),
]
