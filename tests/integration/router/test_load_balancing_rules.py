"""Which of a load balancer's servers answer by host, path and header; and who is told to ask elsewhere."""

from collections.abc import Iterator
from typing import Any

import pytest
from balanced import Behaviour, Web, balancer, curl, haproxy, opened, spread, worker
from router_document import document
from router_lab import PUBLIC, Lab, until

PORT = 8500
URL = f"http://{PUBLIC}:{PORT}"
PLACES = {"vm1": "10.1.1.10", "vm2": "10.1.1.11", "vm3": "10.1.2.10"}


@pytest.fixture(scope="module")
def _webs(shared_lab: Lab) -> Iterator[None]:
    made = [Web(shared_lab[name], 8000, Behaviour(name)) for name in PLACES]
    yield
    for server in made:
        server.close()


def group(*names: str, **fields: Any) -> dict[str, Any]:
    return {"servers": {name: {"address": PLACES[name], "port": 8000} for name in names}, **fields}


RULES = {
    "to-api": {"number": 10, "hosts": ["api.example", "*.api.example"], "group": "api"},
    "images": {"number": 20, "paths": ["/images", "/media/"], "group": "static"},
    "beta": {"number": 30, "headers": {"X-Beta": "yes"}, "group": "static"},
    "moved": {"number": 40, "paths": ["/old"], "redirect": {"path": "/new", "status": 301}},
    "secure": {"number": 50, "hosts": ["www.example"], "redirect": {"scheme": "https", "status": 308}},
}


def wanted(rules: dict[str, Any] = RULES, **fields: Any) -> dict[str, Any]:
    """vm1 serves what no rule leads elsewhere."""
    groups = {"api": group("vm2"), "static": group("vm3")}
    web = balancer(PUBLIC, PORT, **group("vm1"), mode="http", groups=groups, rules=rules, **fields)
    return opened({**document(), "load_balancers": {"web": web}}, (PUBLIC, "tcp", PORT))


@pytest.fixture
def ruled(lab: Lab, _webs: None) -> Lab:
    lab.put(wanted())
    return lab


def answering(lab: Lab, path: str, *options: str, host: str = "other.example") -> str:
    return str(
        curl(lab["net"], f"{URL}{path}", "--path-as-is", "--header", f"Host: {host}", *options)["server"]
    )


def told(lab: Lab, path: str, host: str) -> tuple[str, str]:
    """Status, and where to."""
    format = "%{http_code} %{redirect_url}"
    said = lab["net"].run(
        "curl", "--silent", "--output", "/dev/null", "--write-out", format, "--header", f"Host: {host}",
        f"{URL}{path}",
    )  # fmt: skip
    status, _, location = said.partition(" ")
    return status, location


def test_servers_by_host_path_and_header(ruled: Lab) -> None:
    lab = ruled
    for host, path, server in (
        ("other.example", "/", "vm1"),
        ("api.example", "/", "vm2"),
        ("API.example:8500", "/", "vm2"),
        ("v1.api.example", "/images", "vm2"),
        ("notapi.example", "/", "vm1"),
        ("other.example", "/images", "vm3"),
        ("other.example", "/images/cat.png?size=1", "vm3"),
        ("other.example", "/imagesque", "vm1"),
        ("other.example", "/IMAGES/", "vm1"),
        ("other.example", "/media", "vm3"),
        ("other.example", "/x/media/", "vm1"),
    ):
        assert answering(lab, path, host=host) == server, (host, path)
    assert answering(lab, "/", "--header", "X-Beta: yes") == "vm3"
    assert answering(lab, "/", "--header", "X-Beta: a, yes") == "vm3"
    assert answering(lab, "/", "--header", "X-Beta: yes!") == "vm1"
    assert lab.drift() == []


def test_each_request_of_a_connection_for_itself(ruled: Lab) -> None:
    quiet = ["--silent", "--write-out", " %{num_connects}\n", "--header", "Host: other.example"]
    said = ruled["net"].run("curl", *quiet, f"{URL}/", f"{URL}/images", f"{URL}/").splitlines()
    assert [line.partition('"server": "')[2][:3] for line in said] == ["vm1", "vm3", "vm1"]
    assert [line.rpartition(" ")[2] for line in said] == ["1", "0", "0"]


def test_redirects(ruled: Lab) -> None:
    lab = ruled
    assert told(lab, "/old/page?a=b", "other.example") == ("301", f"http://other.example:{PORT}/new")
    assert told(lab, "/a%20b?c=d", f"www.example:{PORT}") == ("308", "https://www.example/a%20b?c=d")
    # What is asked first decides, of either kind.
    assert answering(lab, "/images/x", host="www.example") == "vm3"
    assert answering(lab, "/old", host="api.example") == "vm2"
    # Who doesn't say which host can't be sent to it by another way.
    with lab["net"].socket() as asking:
        asking.connect((PUBLIC, PORT))
        asking.sendall(b"GET /old HTTP/1.0\r\n\r\n")
        assert asking.recv(100).startswith(b"HTTP/1.1 400")


def test_the_order_is_the_numbers(lab: Lab, _webs: None) -> None:
    rules = {
        "z": {"number": 1, "paths": ["/.well-known"], "group": "api"},
        "a": {"number": 2, "redirect": {"scheme": "https", "port": 8443}},
    }
    lab.put(wanted(rules))
    assert answering(lab, "/.well-known/acme-challenge/x") == "vm2"
    assert told(lab, "/", "www.example") == ("302", "https://www.example:8443/")
    lab.patch({"load_balancers": {"web": {"rules": {"z": {"number": 3}}}}})
    assert told(lab, "/.well-known/x", "www.example")[0] == "302"
    lab.patch({"load_balancers": {"web": {"rules": {"a": None}}}})
    assert answering(lab, "/.well-known/x") == "vm2"
    assert answering(lab, "/") == "vm1"


def test_servers_of_a_group_change_without_a_reload(ruled: Lab) -> None:
    lab = ruled
    process = worker(lab)

    def patched(**servers: Any) -> None:
        lab.patch({"load_balancers": {"web": {"groups": {"api": {"servers": servers}}}}})

    def seen(count: int) -> dict[str, int]:
        return spread(lab["net"], f"{URL}/", count, "--header", "Host: api.example")

    patched(vm1={"address": PLACES["vm1"], "port": 8000, "weight": 3})
    assert seen(8) == {"vm1": 6, "vm2": 2}
    patched(vm1={"state": "drain"})
    assert seen(3) == {"vm2": 3}
    patched(vm1={"state": "ready"}, vm2=None)
    assert seen(3) == {"vm1": 3}
    patched(vm1=None)
    refused = lab["net"].run("curl", "--silent", "--include", "--header", "Host: api.example", f"{URL}/")
    assert refused.startswith("HTTP/1.1 503"), "others' servers don't answer for it"
    patched(vm3={"address": PLACES["vm3"], "port": 8000})
    assert seen(2) == {"vm3": 2}
    assert worker(lab) == process
    assert lab.drift() == []
    # What somebody else does to them is put back.
    haproxy(lab, "set server web:api/vm3 state maint")
    assert [change["name"] for change in lab.drift()] == ["web:api/vm3"]
    until(lambda: lab.drift() == [], seconds=45)
    assert worker(lab) == process


def test_a_group_has_its_own_way_of_choosing(lab: Lab, _webs: None) -> None:
    api = group("vm2", "vm3", stickiness={"cookie": {"name": "API"}}, check={"interval": 0.2, "timeout": 1})
    lab.put(wanted(rules={"api": {"number": 1, "paths": ["/api"], "group": "api"}}))
    lab.patch({"load_balancers": {"web": {"groups": {"api": api}}}})
    said = lab["net"].run("curl", "--silent", "--include", f"{URL}/api")
    assert "set-cookie: API=vm" in said.lower().replace("api=", "API=")
    assert "set-cookie" not in lab["net"].run("curl", "--silent", "--include", f"{URL}/").lower()
    for name in ("vm2", "vm3"):
        assert spread(lab["net"], f"{URL}/api", 3, "--cookie", f"API={name}") == {name: 3}
    lab.patch({"load_balancers": {"web": {"groups": {"api": {"servers": {"vm2": {"port": 8999}}}}}}})
    servers = "/v1/load-balancers"
    until(lambda: lab.get(servers)["web"]["groups"]["api"]["servers"]["vm2"]["status"] == "DOWN")
    # A reload, which takes what is down for down.
    lab.patch({"load_balancers": {"web": {"timeouts": {"client": 33}}}})
    assert spread(lab["net"], f"{URL}/api", 4) == {"vm3": 4}


def test_statistics_of_groups(ruled: Lab) -> None:
    lab = ruled
    for path in ("/", "/images", "/images"):
        answering(lab, path)
    found = lab.get("/v1/load-balancers")
    assert list(found) == ["web"]
    web = found["web"]
    assert (web["sessions_total"], web["responses_total"]["2xx"]) == (3, 3)
    assert web["servers"]["vm1"]["sessions_total"] == 1
    static = web["groups"]["static"]
    assert static["servers"]["vm3"]["sessions_total"] == 2
    assert static["servers_up"] == 1
    labels = '{load_balancer="web",group="static",server="vm3"}'
    metrics = lab.request("GET", "/metrics").text
    assert f"sysvm_load_balancer_server_sessions_total{labels} 2" in metrics
    assert f"sysvm_load_balancer_server_up{labels} 1" in metrics


def test_groups_and_rules_come_and_go(lab: Lab, _webs: None) -> None:
    web = balancer(PUBLIC, PORT, **group("vm1"), mode="http")
    lab.put(opened({**document(), "load_balancers": {"web": web}}, (PUBLIC, "tcp", PORT)))
    assert answering(lab, "/images") == "vm1"
    lab.patch({"load_balancers": {"web": {
        "groups": {"static": group("vm3")},
        "rules": {"images": {"number": 1, "paths": ["/images"], "group": "static"}},
    }}})  # fmt: skip
    assert answering(lab, "/images") == "vm3"
    refused = lab.patch({"load_balancers": {"web": {"groups": {"static": None}}}}, status=422)
    assert refused["errors"][0]["pointer"] == "/load_balancers/web/rules/images/group"
    lab.patch({"load_balancers": {"web": {"groups": {"static": None}, "rules": {"images": None}}}})
    assert answering(lab, "/images") == "vm1"
    assert lab.drift() == []
