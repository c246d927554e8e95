"""Load balancers of tcp and http: which configuration, and what of it changes without being loaded anew."""

from pathlib import Path
from typing import Any

import pytest

from appliance import haproxy
from appliance.engine import load_balancers
from appliance.engine.host import Host
from appliance.model import merge_patch
from appliance.resources import LoadBalancers, Sysctl, Unit
from router import load_balancing
from tests.examples import document, example, read


def balancers(value: Any) -> LoadBalancers:
    moving, found, unit = load_balancing.resources(read(value))
    assert moving == Sysctl(name="net/ipv4/tcp_migrate_req", value="1")
    assert isinstance(found, LoadBalancers)
    assert unit == Unit(name="sysvm-haproxy@0.service")
    return found


def one(**fields: Any) -> dict[str, Any]:
    """The everything example with but one load balancer."""
    value = example("everything")
    servers = {"s1": {"address": "10.1.1.10"}, "s2": {"address": "10.1.1.11", "port": 81}}
    item = {"address": "203.0.113.5", "port": 80, "mode": "http", "servers": servers}
    value["load_balancers"] = {"web": {**item, **fields}}
    return value


def section(**fields: Any) -> list[str]:
    text = load_balancers.config(balancers(one(**fields)))
    return [line.strip() for line in text.partition("\nlisten web\n")[2].splitlines()]


def test_nothing_runs_where_there_is_nothing_to_serve() -> None:
    assert list(load_balancing.resources(document("minimal"))) == []
    assert list(load_balancing.checks(document("minimal"))) == []
    udp = one(mode="udp")
    assert list(load_balancing.resources(read(udp))) == []
    assert list(load_balancing.listeners(read(udp))) == []
    assert [check.name for check in load_balancing.checks(read(one()))] == ["load balancing"]


def test_it_is_listened_on_where_the_document_says() -> None:
    found = {
        (item.address, item.ports, item.open) for item in load_balancing.listeners(document("everything"))
    }
    assert found == {
        ("203.0.113.5", (443, 443), False),
        ("203.0.113.5", (81, 81), False),
        ("10.1.1.1", (5432, 5432), False),
        ("2001:db8::5", (25, 25), False),
        # Of the pair's two, to one another.
        ("169.254.4.1", (10240, 10240), False),
    }


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "bind 203.0.113.5:80 transparent"),
        ({"address": "2001:db8::5"}, "bind [2001:db8::5]:80 transparent"),
        ({"mode": "tcp"}, "mode tcp"),
        ({"algorithm": "least-connections"}, "balance leastconn"),
        ({"algorithm": "source"}, "hash-type consistent"),
        ({"max_connections": 7}, "maxconn 7"),
        ({"timeouts": {"server": 1.5}}, "timeout server 1500ms"),
        ({"timeouts": {"request": 3}}, "timeout http-request 3000ms"),
        ({}, "option forwardfor"),
        ({"keep_alive": False}, "option httpclose"),
        ({"stickiness": {"cookie": {"name": "S"}}}, "cookie S insert indirect nocache"),
        ({"stickiness": {"cookie": {"name": "S", "indirect": False, "nocache": False, "postonly": True}}},
         "cookie S insert postonly"),
        ({"stickiness": {"cookie": {"name": "S", "mode": "prefix"}}}, "cookie S prefix"),
        ({"stickiness": {"cookie": {"name": "S", "mode": "rewrite"}}}, "cookie S rewrite"),
        ({"stickiness": {"source": {"expire": 60}}},
         "stick-table type ip size 200000 expire 60000ms peers :peers"),
        ({"stickiness": {"header": {"name": "X-A"}}}, "stick on req.hdr(X-A)"),
        ({"check": {"http": {}}}, "http-check send meth GET uri / ver HTTP/1.1 hdr Host 203.0.113.5"),
        ({"check": {"timeout": 0.25}}, "timeout check 250ms"),
    ],
)  # fmt: skip
def test_a_section_says(fields: dict[str, Any], line: str) -> None:
    assert line in section(**fields)


def servers(**fields: Any) -> dict[str, str]:
    """Their words, without the number."""
    found = {}
    for line in section(**fields):
        if line.startswith("server "):
            _, name, *words = line.split(" ")
            at = words.index("id")
            found[name] = " ".join(words[:at] + words[at + 2 :])
    return found


def test_servers() -> None:
    assert servers() == {"s1": "10.1.1.10:80 weight 1", "s2": "10.1.1.11:81 weight 1"}
    checked = {"check": {"interval": 1, "fall": 5, "rise": 4, "port": 9}, "proxy_protocol": "v1"}
    assert servers(**checked)["s1"] == (
        "10.1.1.10:80 weight 1 check inter 1000ms fall 5 rise 4 port 9 send-proxy check-send-proxy"
    )
    various = {
        "drained": {"address": "10.1.1.12", "weight": 9, "state": "drain"},
        "off": {"address": "fd00:1::9", "state": "maintenance", "backup": True, "max_connections": 3},
    }
    assert servers(servers=various, stickiness={"cookie": {"name": "S"}}) == {
        "drained": "10.1.1.12:80 weight 0 cookie drained",
        "off": "[fd00:1::9]:80 weight 1 cookie off backup maxconn 3 disabled",
    }


def test_tls_shows_what_it_is_told_to_and_nothing_else() -> None:
    value = one(tls={"certificates": ["www"]})
    value["certificates"]["unused"] = value["certificates"]["www"]
    found = balancers(value)
    assert "ssl crt www.pem ssl-min-ver TLSv1.2 alpn h2,http/1.1" in found.backends["web"].text
    www = value["certificates"]["www"]
    assert found.certificates == {"www.pem": www["certificate"] + www["chain"] + www["key"]}
    plain = balancers(one(tls={"certificates": ["www"], "http2": False}))
    assert plain.backends["web"].text.splitlines()[1].endswith("alpn http/1.1")
    passed = one(mode="tcp", tls={"certificates": ["www"]})
    assert "alpn" not in balancers(passed).backends["web"].text


@pytest.mark.parametrize(
    ("patch", "same"),
    [
        ({"s3": {"address": "10.1.1.12"}}, True),
        ({"s1": None}, True),
        ({"s1": {"weight": 7}}, True),
        ({"s1": {"state": "drain"}}, True),
        ({"s1": {"state": "maintenance"}}, True),
        ({"s1": {"address": "10.1.1.13", "port": 99}}, True),
        ({"s1": {"backup": True}}, False),
        ({"s1": {"max_connections": 9}}, False),
    ],
)
def test_servers_come_go_and_change_without_a_reload(patch: dict[str, Any], same: bool) -> None:
    before = balancers(one())
    after = balancers(merge_patch(one(), {"load_balancers": {"web": {"servers": patch}}}))
    assert before != after
    assert load_balancers.config(before) != load_balancers.config(after), "the next process reads it"
    running = {
        name: haproxy.Observed(server.number, server.address, server.port, server.weight, False)
        for name, server in before.backends["web"].servers.items()
    }
    assert load_balancers.digest(after) == load_balancers.digest(before)
    assert load_balancers.has_numbers(after, {"web": running}) is same


@pytest.mark.parametrize(
    "fields", [{"check": {}}, {"port": 82}, {"algorithm": "source"}, {"tls": {"certificates": ["www"]}}]
)
def test_whatever_else_changes_is_a_reload(fields: dict[str, Any]) -> None:
    assert load_balancers.digest(balancers(one(**fields))) != load_balancers.digest(balancers(one()))
    more = one()
    more["load_balancers"]["more"] = {**more["load_balancers"]["web"], "port": 8081}
    assert load_balancers.digest(balancers(more)) != load_balancers.digest(balancers(one()))


def test_the_order_of_a_document_means_nothing() -> None:
    value = example("everything")
    turned = {**value, "load_balancers": dict(reversed(value["load_balancers"].items()))}
    assert load_balancers.config(balancers(turned)) == load_balancers.config(balancers(value))


def test_a_key_is_in_no_rendering_of_the_configuration() -> None:
    found = balancers(example("everything"))
    assert "PRIVATE KEY" in found.certificates["www.pem"]
    assert "PRIVATE KEY" not in load_balancers.config(found)
    assert "PRIVATE KEY" not in repr(found)


def spread(processes: int, names: list[str]) -> dict[str, int]:
    """Which process serves each."""
    value = one()
    item = value["load_balancers"]["web"]
    value["load_balancers"] = {name: {**item, "port": 2000 + number} for number, name in enumerate(names)}
    value["load_balancing"] = {"processes": processes, "max_connections": 1001}
    found = [made for made in load_balancing.resources(read(value)) if isinstance(made, LoadBalancers)]
    assert all(f"maxconn {-(-1001 // processes)}\n" in made.text for made in found)
    assert len({made.text for made in found}) == len(found), "sockets and ports of their own"
    return {name: made.process for made in found for name in made.backends}


def test_none_moves_when_others_come_or_go() -> None:
    names = [f"lb{number}" for number in range(60)]
    assert set(spread(1, names).values()) == {0}
    before = spread(4, names)
    assert set(before.values()) == {0, 1, 2, 3}
    assert spread(4, names[::2]) == {name: before[name] for name in names[::2]}
    assert spread(4, names[:1]) == {names[0]: before[names[0]]}


def test_each_process_is_looked_after() -> None:
    value = one()
    value["load_balancers"]["echo"] = {**value["load_balancers"]["web"], "port": 81}
    value["load_balancing"] = {"processes": 2}
    assert {load_balancing.process_of(name, 2) for name in value["load_balancers"]} == {0, 1}
    wanted = read(value)
    assert [check.name for check in load_balancing.checks(wanted)] == [
        "load balancing, process 0",
        "load balancing, process 1",
    ]
    units = [made for made in load_balancing.resources(wanted) if isinstance(made, Unit)]
    assert [unit.name for unit in units] == ["sysvm-haproxy@0.service", "sysvm-haproxy@1.service"]
    assert ("169.254.4.1", (10240, 10241)) in {
        (item.address, item.ports) for item in load_balancing.listeners(wanted)
    }


def test_a_server_groups_process_is_its_load_balancers() -> None:
    value = one()
    group = {"servers": {"s9": {"address": "10.1.1.19"}}}
    rule = {"number": 1, "paths": ["/api"], "group": "api"}
    item = {**value["load_balancers"]["web"], "groups": {"api": group}, "rules": {"api": rule}}
    value["load_balancers"] = {f"lb{number}": {**item, "port": 2000 + number} for number in range(8)}
    value["load_balancing"] = {"processes": 8}
    for made in load_balancing.resources(read(value)):
        if isinstance(made, LoadBalancers):
            alone = {name for name in made.backends if ":" not in name}
            assert {name for name in made.backends if ":" in name} == {f"{name}:api" for name in alone}


def test_what_is_like_another_one_is_not_asked_about_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(load_balancers, "_refusal", lambda item, sections: asked.append(sections) or "")
    host = Host(generated=tmp_path)

    def check(**more: Any) -> int:
        value = one()
        value["load_balancers"] |= {
            name: {**value["load_balancers"]["web"], "port": 8000 + number, **fields}
            for number, (name, fields) in enumerate(more.items())
        }
        before = len(asked)
        assert load_balancers.check(balancers(value), host) == ""
        return sum(sections.count("listen ") for sections in asked[before:])

    assert check() == 1
    assert check(a={}, b={}) == 0
    assert check(a={"algorithm": "source"}, b={"algorithm": "source"}) == 1
    assert check(a={"algorithm": "source"}, c={"servers": {"x": {"address": "10.1.1.9", "weight": 9}}}) == 0
    assert check(c={"servers": {"x": {"address": "10.1.1.9", "backup": True}}}) == 1
    assert check(c={"servers": {}}) == 1
