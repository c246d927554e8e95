"""Documents and bodies that are no good: each is refused with its place, and nothing was touched."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from router_document import VM1, VM2, document
from router_lab import FORWARDS, PUBLIC, STATIC, Lab

Document = dict[str, Any]
Break = Callable[[Document], None]


def at(*path: str, value: Any) -> Break:
    """Set one place of a document."""

    def change(target: Document) -> None:
        for key in path[:-1]:
            target = target.setdefault(key, {})
        target[path[-1]] = value

    return change


def forward(**fields: Any) -> Any:
    return {"address": FORWARDS, "protocol": "tcp", "ports": 9000, "target": "10.1.1.10"} | fields


RESERVATIONS = ("dhcp", "guest0", "reservations")
BROKEN: dict[str, tuple[Break, str]] = {
    "unknown key": (at("colour", value="red"), "/colour"),
    "unknown key inside": (at("dhcp", "guest0", "colour", value=1), "/dhcp/guest0/colour"),
    "wrong type": (at("dhcp", value=[]), "/dhcp"),
    "text for a number": (at("dhcp", "guest0", "lease_seconds", value="3600"), "/dhcp/guest0/lease_seconds"),
    "truth for a number": (at("dhcp", "guest0", "lease_seconds", value=True), "/dhcp/guest0/lease_seconds"),
    "null": (at("interfaces", value=None), "/interfaces"),
    "huge number": (at("interfaces", "guest0", "mtu", value=10**400), "/interfaces/guest0/mtu"),
    "float": (at("interfaces", "guest0", "mtu", value=1500.5), "/interfaces/guest0/mtu"),
    "infinite": (at("interfaces", "guest0", "mtu", value=1e308 * 1e308), ""),
    "address outside its network": (
        at(*RESERVATIONS, VM1, "address", value="10.9.9.9"),
        f"/dhcp/guest0/reservations/{VM1}/address",
    ),
    "address of the router": (
        at(*RESERVATIONS, VM1, "address", value="10.1.1.1"),
        f"/dhcp/guest0/reservations/{VM1}/address",
    ),
    "address twice": (
        at(*RESERVATIONS, VM2, "address", value="10.1.1.10"),
        f"/dhcp/guest0/reservations/{VM2}/address",
    ),
    "name twice": (
        at(*RESERVATIONS, VM2, "hostname", value="vm1"),
        f"/dhcp/guest0/reservations/{VM2}/hostname",
    ),
    "MAC twice": (at("interfaces", "guest1", "mac", value="02:00:0a:01:01:01"), "/interfaces/guest1/mac"),
    "MAC of an interface": (
        at(*RESERVATIONS, "02:00:0a:01:01:01", value={"address": "10.1.1.20"}),
        "/dhcp/guest0/reservations/02:00:0a:01:01:01",
    ),
    "MAC in capitals": (
        at(*RESERVATIONS, "02:00:0A:01:01:77", value={"address": "10.1.1.20"}),
        "/dhcp/guest0/reservations/02:00:0A:01:01:77",
    ),
    "forwards that overlap": (
        at("port_forwards", "other", value=forward(ports="8000-8090")),
        "/port_forwards/web/ports",
    ),
    "forward to nobody": (
        at("port_forwards", "other", value=forward(target="10.7.7.7")),
        "/port_forwards/other/target",
    ),
    "forward of an address with static NAT": (
        at("port_forwards", "other", value=forward(address=STATIC)),
        "/port_forwards/other/address",
    ),
    "forward of a foreign address": (
        at("port_forwards", "other", value=forward(address="203.0.113.99")),
        "/port_forwards/other/address",
    ),
    "static NAT of the source NAT's": (
        at("static_nat", PUBLIC, value={"target": "10.1.1.10"}),
        f"/static_nat/{PUBLIC}",
    ),
    "networks that overlap": (
        at("interfaces", "guest1", "addresses", value=["10.1.1.129/25"]),
        "/interfaces/guest1/addresses/0",
    ),
    "section of no network": (at("dns", "guest7", value={"domain": "c.example"}), "/dns/guest7"),
    "route to a network that is here": (
        at("routes", "r", value={"destination": "10.1.2.0/24", "gateway": "10.1.1.10"}),
        "/routes/r/destination",
    ),
    "the control interface's card": (
        at("interfaces", "guest1", "mac", value="02:00:a9:fe:03:02"),
        "/interfaces/guest1/mac",
    ),
    "the control network as a guests'": (
        at("interfaces", "guest2", value={"mac": "02:00:00:00:00:99", "addresses": ["169.254.3.9/24"]}),
        "/interfaces/guest2/addresses/0",
    ),
    "route to the control network": (
        at("routes", "r", value={"destination": "169.254.3.0/24", "gateway": "10.1.1.10"}),
        "/routes/r/destination",
    ),
    "route to the management plane": (
        at("routes", "r", value={"destination": "169.254.3.1/32", "gateway": "10.1.1.10"}),
        "/routes/r/destination",
    ),
    "gateway of its own": (
        at("interfaces", "public0", "gateway", value=PUBLIC),
        "/interfaces/public0/gateway",
    ),
    "another appliance's": (at("name", value="r2"), "/name"),
    "another role's": (at("role", value="secstorage"), "/role"),
}
# What would leave its line, its quotes or its element, if it came that far.
BREAKOUTS = [
    "a\nb",
    'a"b',
    "a;b",
    "a}b",
    "a{{b}}",
    "a b",
    "a,b",
    "a`b",
    "a\x00b",
    "a\u2028b",
    "../a",
    "a#b",
    "-a",
    "",
]
PLACES: dict[str, Callable[[str], Break]] = {
    "host name": lambda text: at(*RESERVATIONS, VM1, "hostname", value=text),
    "domain": lambda text: at("dns", "guest0", "domain", value=text),
    "alias": lambda text: at("dns", "guest0", "aliases", text, value="vm1"),
    "alias target": lambda text: at("dns", "guest0", "aliases", "www", value=text),
    "record": lambda text: at("dns", "guest0", "records", text, value=["10.1.1.50"]),
    "mail": lambda text: at("dns", "guest0", "mail", "m", value={"target": text}),
    "rule": lambda text: at(
        "firewall", "egress", "guest0", "rules", text, value={"verdict": "drop", "protocol": "tcp"}
    ),
    "link": lambda text: at("interfaces", text, value={"mac": "02:00:00:00:00:99"}),
    "address": lambda text: at("interfaces", "guest0", "addresses", value=[text]),
    "ports": lambda text: at("port_forwards", "web", "ports", value=text),
    "source": lambda text: at("port_forwards", "web", "source_cidrs", value=[text]),
    "instance": lambda text: at("metadata", "guest0", "guests", VM1, "instance_id", value=text),
    "user-data": lambda text: at("metadata", "guest0", "guests", VM1, "user_data", value=text or "*"),
    "metadata key": lambda text: at("metadata", "guest0", "guests", VM1, "keys", text, value="x"),
}  # fmt: skip


def test_a_broken_document_is_refused_with_its_place(unharmed: Lab) -> None:
    for name, (change, pointer) in BROKEN.items():
        broken = document()
        change(broken)
        generation = unharmed.get("/v1/status")["generation"] + 1
        answer = unharmed.request("PUT", "/v1/config", broken | {"generation": generation})
        if name == "infinite":
            assert answer.status == 400, (name, answer)
            continue
        assert answer.status == 422, (name, answer)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert pointer in [error["pointer"] for error in answer.json["errors"]], (name, answer.json)
        assert all(error["detail"] for error in answer.json["errors"])
        plan = unharmed.request("POST", "/v1/plan", broken | {"generation": generation})
        assert plan.status == 422, (name, plan)


@pytest.mark.parametrize("place", PLACES)
def test_text_doesnt_break_out_of_its_place(unharmed: Lab, place: str) -> None:
    for text in BREAKOUTS:
        if (place, text) == ("instance", "-a"):
            continue  # not a name on anybody's command line
        broken = document()
        PLACES[place](text)(broken)
        error = unharmed.put(broken, status=422)
        assert error["errors"], (place, text)


BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "no JSON": (b"{", 400),
    "trailing": (b"{} {}", 400),
    "duplicate key": (b'{"role": "router", "role": "router"}', 400),
    "duplicate key inside": (b'{"dhcp": {"guest0": {}, "guest0": {}}}', 400),
    "NaN": (b'{"generation": NaN}', 400),
    "Infinity": (b'{"generation": -Infinity}', 400),
    "not UTF-8": (b'{"role": "\xff"}', 400),
    "digits": (b'{"generation": ' + b"9" * 5000 + b"}", 400),
    "exponent": (b'{"generation": 1e999}', 422),
    "array": (b"[]", 422),
    "text": (b'"router"', 422),
    "null": (b"null", 422),
    "number": (b"7", 422),
    "lone surrogate": (b'{"role": "router", "name": "\\ud800"}', 422),
    "lone surrogate as a key": (b'{"role": "router", "\\ud800": 1}', 422),
    "deep array": (b"[" * 100_000, 400),
    "deep objects": (b'{"a":' * 900 + b"1" + b"}" * 900, 422),
    "deeper objects": (b'{"a":' * 3000 + b"1" + b"}" * 3000, 422),
    "deepest objects": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, 400),
    "deep where a mapping is": (b'{"dhcp":' + b'{"a":' * 3000 + b"1" + b"}" * 3001, 422),
}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
def test_a_body_that_is_no_document_is_refused(unharmed: Lab, method: str) -> None:
    path = "/v1/plan" if method == "POST" else "/v1/config"
    for name, (body, status) in BODIES.items():
        answer = unharmed.request(method, path, body)
        # Whether a nesting can be parsed at all is the parser's business, but it is an answer.
        allowed = {400, 422} if "deep" in name else {status}
        assert answer.status in allowed, (name, answer)
        assert answer.json["detail"], name


def test_other_content_types_and_methods_are_refused(unharmed: Lab) -> None:
    body = json.dumps(document() | {"generation": 10**6}).encode()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/xml",
        "",
    ):
        assert unharmed.request("PUT", "/v1/config", body, content_type=kind).status in (400, 415), kind
    assert unharmed.request("DELETE", "/v1/config").status == 405
    assert unharmed.request("POST", "/v1/config", body).status == 405
    assert unharmed.request("GET", "/v1/nothing").status == 404
    for path in (
        "/v1/config/../../etc/passwd",
        "/static/../api.py",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
    ):
        answer = unharmed.request("GET", path)
        assert answer.status in (404, 308) and "root:" not in answer.text, path


def test_generations_only_grow(unharmed: Lab) -> None:
    running = unharmed.get("/v1/config")
    old = unharmed.request("PUT", "/v1/config", document() | {"generation": running["generation"] - 1})
    assert old.status == 409
    other = document()
    other["dhcp"]["guest0"]["lease_seconds"] = 7200
    same = unharmed.request("PUT", "/v1/config", other | {"generation": running["generation"]})
    assert same.status == 409
    again = unharmed.request("PUT", "/v1/config", document() | {"generation": running["generation"]})
    assert (again.status, again.json["changes"]) == (200, [])
    for generation in (0, -1, 2**53, "2", None, 1.5):
        answer = unharmed.request("PUT", "/v1/config", document() | {"generation": generation})
        assert answer.status == 422, generation


def turned(value: Any) -> Any:
    """The same, with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(item) for key, item in reversed(value.items())}
    return [turned(item) for item in value] if isinstance(value, list) else value


def test_the_order_of_keys_means_nothing(lab: Lab) -> None:
    wanted = document()
    wanted["dns"]["guest0"] |= {
        "records": {"b": ["10.1.1.71"], "a": ["10.1.1.70"]},
        "aliases": {"y": "vm1", "x": "vm2"},
        "texts": {"t": "1", "s": "2"},
        "mail": {"m": {"target": "vm1.a.example"}, "n": {"target": "vm2.a.example"}},
    }
    wanted["metadata"]["guest0"]["guests"][VM1]["keys"] = {"b": "1", "a": "2"}
    lab.put(wanted)
    assert lab.put(turned(wanted))["changes"] == []


PATCHES: list[Any] = [
    {"role": None},
    {"role": "host"},
    {"name": "r2"},
    {"generation": None},
    {"generation": "9"},
    {"generation": True},
    {"interfaces": None, "dhcp": {"guest0": {"lease_seconds": 5}}},
    {"interfaces": {"guest0": None}},
    {"interfaces": {"guest0": {"addresses": None}}},
    {"dhcp": {"guest0": {"reservations": {VM1: None}}}},
    {"dhcp": []},
    {"dhcp": {"guest0": {"reservations": {VM1: {"address": None}}}}},
    {"port_forwards": {"web": {"ports": "0-70000"}}},
    {"firewall": {"ingress": {"rules": {"static": {"protocol": "icmp"}}}}},
    {"interfaces": {"public0": {"addresses": []}}},
]


def test_a_patch_that_breaks_the_document_is_refused(unharmed: Lab) -> None:
    for patch in PATCHES:
        answer = unharmed.request("PATCH", "/v1/config", patch, content_type="application/merge-patch+json")
        assert answer.status == 422, (patch, answer)
    old = unharmed.get("/v1/config")["generation"] - 1
    assert unharmed.request("PATCH", "/v1/config", {"generation": old}).status == 409


def test_confirm_wants_a_number_of_seconds(unharmed: Lab) -> None:
    for text in ("", "0", "-1", "nan", "inf", "1e9", "soon", "1;2", "%00"):
        generation = unharmed.get("/v1/config")["generation"] + 1
        answer = unharmed.request(
            "PUT", f"/v1/config?confirm={text}", document() | {"generation": generation}
        )
        assert answer.status == 400, (text, answer)
    assert unharmed.request("POST", "/v1/confirm", b"").status == 409


def test_what_only_a_daemon_refuses_touches_nothing(unharmed: Lab) -> None:
    """The model takes any text for an option; dnsmasq knows that option 44 is an address."""
    broken = document()
    broken["dhcp"]["guest0"]["options"] = {"extra": {"44": "somewhere"}}
    broken["interfaces"]["guest0"]["mtu"] = 1400
    broken["firewall"]["egress"]["guest0"]["policy"] = "drop"
    error = unharmed.put(broken, status=422)
    assert "dhcp-options" in error["detail"]
    plan = unharmed.request("POST", "/v1/plan", broken | {"generation": 10**6})
    assert plan.status == 422


def test_a_masked_secret_is_not_taken_for_one(unharmed: Lab) -> None:
    for text in ("**********", "sealed:" + "0" * 64):
        broken = document()
        broken["metadata"]["guest0"]["guests"][VM1]["password"] = text
        assert unharmed.put(broken, status=422)["errors"][0]["pointer"].endswith("/password")
