"""Rules for HTTP requests as HAProxy's (its configuration manual, section 7): one request, one decision.

HAProxy answers with redirects before it chooses servers, whatever the order of its lines. So what is decided
for a group is kept in a variable of the request's own, which later rules ask for.
"""

from collections.abc import Iterator

from router.document import HttpRule, LoadBalancer, Redirect

_PORTS = {"http": 80, "https": 443}
_CHOSEN = "txn.group"


def lines(name: str, item: LoadBalancer) -> Iterator[str]:
    """For the section of a load balancer of this name."""
    if not item.rules:
        return
    rules = sorted(item.rules.items(), key=lambda each: each[1].number)
    yield f"acl decided var({_CHOSEN}) -m found"
    for key, rule in rules:
        yield from _rule(key, rule, item)
    yield f"use_backend {name}:%[var({_CHOSEN})] if decided"


def _rule(name: str, rule: HttpRule, item: LoadBalancer) -> Iterator[str]:
    asked = ["!decided"]
    for acl, several in _conditions(name, rule).items():
        yield from (f"acl {acl} {criterion}" for criterion in several)
        asked.append(acl)
    when = f"if {' '.join(asked)}"
    if rule.redirect is None:
        yield f"http-request set-var({_CHOSEN}) str({rule.group}) {when}"
        return
    if rule.redirect.host is None:
        yield f"http-request deny deny_status 400 {when} !{{ req.hdr(host),host_only -m len gt 0 }}"
    code, location = rule.redirect.status, _location(rule.redirect, item)
    yield f"http-request redirect code {code} location {location} {when}"


def _conditions(name: str, rule: HttpRule) -> dict[str, list[str]]:
    """By its name in HAProxy, what a request may agree with for it to hold."""
    found = {}
    if rule.hosts:
        found[f"host:{name}"] = [*map(_host, rule.hosts)]
    if rule.paths:
        found[f"path:{name}"] = [line for path in rule.paths for line in _path(path)]
    for header, value in sorted(rule.headers.items()):
        found[f"header:{header}:{name}"] = [f"req.hdr({header}) -m str -- {value}"]
    return found


def _host(host: str) -> str:
    how = f"-m end -- {host[1:]}" if host.startswith("*") else f"-m str -- {host}"
    return f"req.hdr(host),host_only -i {how}"


def _path(path: str) -> Iterator[str]:
    whole = path.rstrip("/")
    if whole:
        yield f"path -m str -- {whole}"
    yield f"path -m beg -- {whole}/"


def target(redirect: Redirect, item: LoadBalancer) -> tuple[str, int]:
    """Scheme and port that it leads to."""
    own = "https" if item.tls else "http"
    usual = _PORTS[redirect.scheme] if redirect.scheme else item.port
    return redirect.scheme or own, redirect.port or usual


def _location(redirect: Redirect, item: LoadBalancer) -> str:
    scheme, port = target(redirect, item)
    host = redirect.host or "%[req.hdr(host),host_only]"
    place = host if port == _PORTS[scheme] else f"{host}:{port}"
    # What HAProxy takes for a variable begins with %.
    path = "%[pathq]" if redirect.path is None else redirect.path.replace("%", "%%")
    return f"{scheme}://{place}{path}"


def leads_back(redirect: Redirect, item: LoadBalancer) -> bool:
    """Whether it leads to the very place that was asked. (Another name is maybe another address, and another
    path another rule's.)"""
    own = "https" if item.tls else "http"
    return redirect.host is None and redirect.path is None and target(redirect, item) == (own, item.port)
