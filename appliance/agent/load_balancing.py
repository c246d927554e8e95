"""What load balancers and their servers do, asked of HAProxy and of the kernel: for the API and for metrics.

A process that takes over counts from 0; Prometheus' rates allow for that.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance import haproxy
from appliance.agent import datagrams
from appliance.resources import Resource

Statistics = dict[str, dict[str, Any]]
"""By load balancer: its own figures; `servers`, by name, with theirs; `groups`, by name, with `servers`."""
_OWN = ":"
"""Begins the names of sections that aren't the document's, and leads from a load balancer's to a group's."""
_COUNTS = {
    "sessions": "scur",
    "most_sessions": "smax",
    "session_limit": "slim",
    "sessions_total": "stot",
    "bytes_received_total": "bin",
    "bytes_sent_total": "bout",
    "queued": "qcur",
}
_SERVER_COUNTS = {
    "weight": "uweight",
    "connection_errors_total": "econ",
    "response_errors_total": "eresp",
    "redispatches_total": "wredis",
    "failed_checks_total": "chkfail",
    "downtime_seconds_total": "downtime",
    "seconds_in_status": "lastchg",
}
_RESPONSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_TAKING = ("UP", "no check")
_FRONT, _ALL = "FRONTEND", "BACKEND"


def statistics(resources: Iterable[Resource]) -> Statistics:
    """Of all that the machine was made to have; of an HAProxy's none where it doesn't answer."""
    return _of_haproxy() | datagrams.statistics(resources)


def _of_haproxy() -> Statistics:
    found: Statistics = {}
    for place in haproxy.running():
        with contextlib.suppress(OSError), haproxy.Session(place.admin) as session:
            _collect(session.statistics(), found)
    return found


def _collect(rows: Iterable[Mapping[str, str]], found: Statistics) -> None:
    for row in rows:
        of = row["svname"]
        name, _, group = row["pxname"].partition(_OWN)
        if not name:
            continue
        item = found.setdefault(name, {"servers": {}})
        if group:
            item = item.setdefault("groups", {}).setdefault(group, {"servers": {}})
        if of == _FRONT:
            item |= {"status": row["status"], **_figures(row, _COUNTS), **_responses(row)}
        elif of == _ALL:
            item |= {"servers_up": int(row["act"] or 0), "backup_servers_up": int(row["bck"] or 0)}
            item |= _figures(row, {"queued": "qcur"})
        else:
            item["servers"][of] = _server(row)


def _server(row: Mapping[str, str]) -> dict[str, Any]:
    """`status`, `check`: as HAProxy's management guide has them, 9.1 (UP, DOWN, MAINT; L4OK, L7STS). DRAIN
    is one whose weight is 0."""
    # Without how far it has come on its way: "UP 1/3".
    status = re.sub(r" [0-9]+/[0-9]+$", "", row["status"])
    if row["uweight"] == "0" and status in _TAKING:
        status = "DRAIN"
    return {
        "status": status,
        "address": row["addr"],
        "backup": row["bck"] == "1",
        "check": row["check_status"].removeprefix("* ") or None,
        **_figures(row, _COUNTS | _SERVER_COUNTS),
        **_responses(row),
    }


def _figures(row: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, int]:
    return {name: int(row[column]) for name, column in columns.items() if row.get(column)}


def _responses(row: Mapping[str, str]) -> dict[str, Any]:
    counts = {code: int(row[f"hrsp_{code}"]) for code in _RESPONSES if row.get(f"hrsp_{code}")}
    return {"responses_total": counts} if counts else {}


def certificate_ends() -> dict[str, float]:
    """When the certificates that are shown end, in seconds since 1970, by name."""
    found: dict[str, float] = {}
    for place in haproxy.running():
        with contextlib.suppress(OSError), haproxy.Session(place.admin) as session:
            found |= session.certificate_ends()
    return found


Sample = tuple[dict[str, str], float]
Metric = tuple[str, str, str, list[Sample]]
"""Name, kind, text, samples."""


def metrics(resources: Iterable[Resource]) -> Iterator[Metric]:
    found = statistics(resources)
    for name, text in (
        ("sessions", "Sessions at the moment"),
        ("sessions_total", "Sessions so far"),
        ("bytes_received_total", "Bytes from clients"),
        ("bytes_sent_total", "Bytes to clients"),
        ("queued", "Requests that wait for a server"),
    ):
        samples = [({"load_balancer": of}, item[name]) for of, item in found.items() if name in item]
        yield f"load_balancer_{name}", _kind(name), text, samples
    yield (
        "load_balancer_responses_total",
        "counter",
        "Responses to clients, by status",
        [
            ({"load_balancer": of, "code": code}, count)
            for of, item in found.items()
            for code, count in item.get("responses_total", {}).items()
        ],
    )
    yield from _server_metrics(found)
    ends = [({"certificate": name}, end) for name, end in certificate_ends().items()]
    yield "certificate_end_seconds", "gauge", "When a certificate ends, since 1970", ends


def _server_metrics(found: Statistics) -> Iterator[Metric]:
    servers = [*_labelled(found)]
    up = [(labels, float(server["status"] in _TAKING)) for labels, server in servers]
    yield "load_balancer_server_up", "gauge", "1 for a server that takes new sessions", up
    for name, text in (
        ("weight", "Weight; 0 while it is drained"),
        ("sessions", "A server's sessions at the moment"),
        ("sessions_total", "A server's sessions so far"),
        ("bytes_received_total", "Bytes to a server"),
        ("bytes_sent_total", "Bytes from a server"),
        ("connection_errors_total", "Connections that a server didn't take"),
        ("failed_checks_total", "Checks that failed"),
        ("downtime_seconds_total", "Seconds for which a server was down"),
    ):
        samples = [(labels, server[name]) for labels, server in servers if name in server]
        yield f"load_balancer_server_{name}", _kind(name), text, samples


def _labelled(found: Statistics) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Servers, of load balancers and of their groups."""
    for of, item in found.items():
        for name, server in item["servers"].items():
            yield {"load_balancer": of, "server": name}, server
        for group, members in item.get("groups", {}).items():
            for name, server in members["servers"].items():
                yield {"load_balancer": of, "group": group, "server": name}, server


def _kind(name: str) -> str:
    return "counter" if name.endswith("_total") else "gauge"
