"""Rules for HTTP requests, and the groups of servers that they lead to: which lines, in which order."""

from typing import Any

import pytest

from appliance.engine import backend_servers, load_balancers
from appliance.model import merge_patch
from tests.unit.router.pem import identity
from tests.unit.router.test_load_balancing import balancers, one

GROUP = {"servers": {"a": {"address": "10.1.1.10"}, "b": {"address": "10.1.1.11", "port": 82}}}
CA = identity("Test authority", authority=True).certificate


def ruled(rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return one(rules=rules, groups={"api": GROUP, "old": {}}, **fields)


def said(value: dict[str, Any], name: str = "web") -> list[str]:
    text = balancers(value).backends[name].text
    return [line.strip() for line in text.splitlines()]


def decisions(value: dict[str, Any]) -> list[str]:
    return [line for line in said(value) if line.startswith(("http-request", "use_backend"))]


def test_who_has_no_rules_has_no_lines_of_them() -> None:
    assert decisions(one()) == ["http-request set-header X-Forwarded-Proto http"]
    assert balancers(one()).backends.keys() == {"web"}


def test_rules_come_by_their_numbers_and_the_first_decides() -> None:
    rules = {
        "last": {"number": 30, "redirect": {"scheme": "https"}},
        "first": {
            "number": 7,
            "hosts": ["a.example", "*.b.example"],
            "paths": ["/v1/", "/"],
            "group": "api",
        },
        "second": {"number": 8, "headers": {"X-Stage": "live"}, "group": "old"},
    }
    host = "req.hdr(host),host_only"
    assert said(ruled(rules))[6:-2] == [
        "option forwardfor",
        "http-request set-header X-Forwarded-Proto http",
        "acl decided var(txn.group) -m found",
        f"acl host:first {host} -i -m str -- a.example",
        f"acl host:first {host} -i -m end -- .b.example",
        "acl path:first path -m str -- /v1",
        "acl path:first path -m beg -- /v1/",
        "acl path:first path -m beg -- /",
        "http-request set-var(txn.group) str(api) if !decided host:first path:first",
        "acl header:X-Stage:second req.hdr(X-Stage) -m str -- live",
        "http-request set-var(txn.group) str(old) if !decided header:X-Stage:second",
        f"http-request deny deny_status 400 if !decided !{{ {host} -m len gt 0 }}",
        f"http-request redirect code 302 location https://%[{host}]%[pathq] if !decided",
    ]
    assert said(ruled(rules))[-2] == "use_backend web:%[var(txn.group)] if decided"


@pytest.mark.parametrize(
    ("redirect", "tls", "location"),
    [
        ({"scheme": "https"}, False, "https://HOST%[pathq]"),
        ({"scheme": "https", "port": 8443}, False, "https://HOST:8443%[pathq]"),
        ({"host": "www.example.org"}, False, "http://www.example.org:81%[pathq]"),
        ({"host": "www.example.org"}, True, "https://www.example.org:81%[pathq]"),
        ({"scheme": "http"}, True, "http://HOST%[pathq]"),
        ({"port": 443}, True, "https://HOST%[pathq]"),
        # What HAProxy would take for a variable of its own.
        ({"path": "/a%ci?%b"}, False, "http://HOST:81/a%%ci?%%b"),
    ],
)
def test_where_a_redirect_leads(redirect: dict[str, Any], tls: bool, location: str) -> None:
    fields = {"tls": {"certificates": ["www"]}} if tls else {}
    rules = {"r": {"number": 1, "redirect": {**redirect, "status": 308}}}
    found = location.replace("HOST", "%[req.hdr(host),host_only]")
    line = f"http-request redirect code 308 location {found} if !decided"
    assert line in decisions(ruled(rules, port=81, **fields))


def test_a_group_has_a_section_of_its_own() -> None:
    api = {
        **GROUP,
        "algorithm": "source",
        "stickiness": {"cookie": {"name": "C"}},
        "check": {"interval": 1, "http": {}},
    }
    value = one(groups={"api": api}, timeouts={"client": 3, "server": 4, "request": 5})
    found = balancers(value).backends["web:api"]
    assert found.text.splitlines()[:5] == [
        "backend web:api",
        "    mode http",
        "    balance source",
        "    hash-type consistent",
        "    timeout server 4000ms",
    ]
    assert {name: (server.address, server.port) for name, server in found.servers.items()} == {
        "a": ("10.1.1.10", 80),
        "b": ("10.1.1.11", 82),
    }
    assert all(backend_servers.is_checked(server) for server in found.servers.values())
    assert found.servers["a"].options.endswith("cookie a")


@pytest.mark.parametrize(
    ("patch", "same"),
    [
        ({"servers": {"a": {"weight": 9, "state": "drain"}}}, True),
        ({"servers": {"a": None, "new": {"address": "10.1.1.12"}}}, True),
        ({"algorithm": "least-connections"}, False),
        ({"server_tls": {"verify": False}}, False),
    ],
)
def test_its_servers_change_without_a_reload(patch: dict[str, Any], same: bool) -> None:
    value = ruled({})
    changed = merge_patch(value, {"load_balancers": {"web": {"groups": {"api": patch}}}})
    digests = {load_balancers.digest(balancers(each)) for each in (value, changed)}
    assert (len(digests) == 1) is same


def test_what_did_not_change_is_the_very_same() -> None:
    """The engine looks at nothing else again."""
    value = ruled({"r": {"number": 1, "group": "api"}})
    value["load_balancers"]["other"] = {"address": "203.0.113.5", "port": 8}
    first = balancers(value).backends
    # A document that shares what it has in common, as patches do.
    from router import load_balancing
    from router.document import LoadBalancer
    from tests.examples import read

    document = read(value)
    (_, before, _) = load_balancing.resources(document)
    more = {**document.load_balancers, "new": LoadBalancer(address="203.0.113.5", port=9)}
    (_, after, _) = load_balancing.resources(document.model_copy(update={"load_balancers": more}))
    assert after.backends.keys() == {*first, "new"}  # type: ignore[union-attr]
    for name in ("web", "web:api", "web:old", "other"):
        assert after.backends[name] is before.backends[name]  # type: ignore[union-attr]


def test_tls_to_servers() -> None:
    tls = {"authority": CA, "name": "in.example"}
    found = balancers(one(server_tls=tls, check={}))
    (authority,) = (name for name in found.certificates if name.endswith(".ca"))
    assert found.certificates[authority] == CA
    options = found.backends["web"].servers["s1"].options
    assert options == (
        f"check inter 2000ms fall 3 rise 2 ssl ssl-min-ver TLSv1.2 verify required ca-file {authority} "
        "verifyhost in.example sni str(in.example) check-ssl check-sni in.example"
    )
    assert f"    default-server ca-file {authority}\n" in found.backends["web"].text
    other = balancers(one(server_tls={**tls, "authority": CA + CA}, check={}))
    assert load_balancers.digest(other) != load_balancers.digest(found), "another one is loaded anew"


def test_tls_to_servers_unverified_and_http2() -> None:
    def options(**fields: Any) -> str:
        return balancers(one(**fields)).backends["web"].servers["s1"].options

    unverified = {"verify": False}
    assert options(server_tls=unverified) == "ssl ssl-min-ver TLSv1.2 verify none"
    assert options(server_tls={**unverified, "name": "a.example"}).endswith("verify none sni str(a.example)")
    both = options(server_tls={**unverified, "http2": True}, check={})
    assert both.endswith("verify none alpn h2,http/1.1 check-ssl check-alpn h2,http/1.1")
