"""The appliance as a container: documents in, jobs through the agent's mutual TLS, files on its stores."""

import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.boot import ControlInterface
from appliance.devcloud import end
from appliance.management.authority import Authority, boot_json
from appliance.runtime import namespace
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name, state_directory
from appliance.runtime.runtime import Interface, Machine
from images.tree import build
from tests.examples import example
from tests.namespace import within
from tests.unit.secstorage.storage import DISK, Web, serving, sha256

CONTROL = "169.254.3.10"
MACS = {"control0": "02:00:a9:fe:03:0a", "public0": "02:00:cb:00:71:0a"}
STORE = "/var/lib/sysvm/stores/local"


def document(generation: int, **sections: Any) -> dict[str, Any]:
    return {
        "role": "secstorage",
        "name": "s1",
        "generation": generation,
        "interfaces": {"public0": {"mac": MACS["public0"], "addresses": ["203.0.113.10/24"]}},
        "stores": {"local": {"kind": "local", "reserve_bytes": 0}},
        "sources": {"allowed_networks": ["203.0.113.0/24", "169.254.0.0/16"], "ports": [80, 8443]},
        **sections,
    }


class Lab:
    def __init__(self, directory: Path) -> None:
        self.containers = Containers(f"sto{os.getpid() % 10**8}")
        self.containers.clear()
        cloud = self.containers.cloud
        self.containers.switch.up(["control0", "public0"])
        for name, segment, mac, address in (
            ("mgmt", "control0", "02:00:a9:fe:03:01", "169.254.3.1/24"),
            ("net", "public0", "02:00:cb:00:71:01", "203.0.113.1/24"),
        ):
            card = Interface(segment=segment, mac=mac)
            end.up(cloud, name, interface=card, link="eth0", addresses=[address])
        self.authority = Authority.open(directory)
        self.state = state_directory(cloud, "s1")
        self.start()

    def start(self) -> None:
        control = ControlInterface(mac=MACS["control0"], address=f"{CONTROL}/24", gateway=None)
        boot = boot_json(self.authority.boot("s1", "secstorage", control)).encode()
        cards = tuple(Interface(segment=name, mac=mac) for name, mac in MACS.items())
        machine = Machine(name="s1", image=build("secstorage"), interfaces=cards, boot=boot, keeps=True)
        self.containers.start(machine, wait=120)

    def socket(self, name: str) -> socket.socket:
        with within(full_name(self.containers.cloud, name)):
            return socket.socket()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with self.socket("mgmt") as raw:
            raw.settimeout(120)
            raw.connect((CONTROL, 8443))
            with self.authority.client_context().wrap_socket(raw, server_hostname="s1") as sock:
                connection = http.client.HTTPConnection("s1")
                connection.sock = sock
                content = None if body is None else json.dumps(body)
                connection.request(method, path, content, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                return answer.status, json.loads(text) if text else None

    def put(self, wanted: dict[str, Any]) -> None:
        status, told = self.ask("PUT", "/v1/config", wanted)
        assert status == 200, told
        assert self.ask("POST", "/v1/plan", wanted) == (200, {"changes": []}), "it converged"

    def healthy(self) -> bool:
        _, told = self.ask("GET", "/v1/health?fresh")
        return bool(told["ok"])

    def ended(self, job: str) -> dict[str, Any]:
        def found() -> Any:
            status, told = self.ask("GET", f"/v1/storage/jobs/{job}")
            return told if status == 200 and told["state"] in ("done", "failed", "cancelled") else None

        return dict(until(found))

    def run(self, *argv: str) -> str:
        done = self.containers.run("s1", argv, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


def until(true: Callable[[], Any], *, seconds: float = 120.0) -> Any:
    deadline, seen = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if seen := true():
                return seen
        except (OSError, http.client.HTTPException) as error:
            seen = error
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {seen!r}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("management"))
    made.put(document(1))
    until(made.healthy)
    yield made
    made.containers.clear()


@pytest.fixture
def web(lab: Lab) -> Iterator[Web]:
    listening = lab.socket("net")
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("203.0.113.1", 80))
    listening.listen(20)
    with serving(Web(), listening) as found:
        yield found


def request(name: str, **more: Any) -> dict[str, Any]:
    entry = {"kind": "template", "id": name}
    return {
        "kind": "download",
        "store": "local",
        "entry": entry,
        "urls": ["http://203.0.113.1/disk"],
        **more,
    }


def test_a_template_comes_and_is_converted(lab: Lab, web: Web) -> None:
    status, told = lab.ask("PUT", "/v1/storage/jobs/get", request("t", checksum=sha256(DISK)))
    assert status == 201, told
    assert lab.ask("PUT", "/v1/storage/jobs/get", request("t", checksum=sha256(DISK)))[0] == 200
    assert lab.ended("get")["state"] == "done"
    made = {"kind": "convert", "store": "local", "source": {"kind": "template", "id": "t"},
            "entry": {"kind": "template", "id": "q"}, "format": "qcow2"}  # fmt: skip
    assert lab.ask("PUT", "/v1/storage/jobs/convert", made)[0] == 201
    assert lab.ended("convert")["state"] == "done", lab.ended("convert")
    _, told = lab.ask("GET", "/v1/storage/stores/local/entries")
    assert {entry["id"]: entry["format"] for entry in told["entries"]} == {"t": "raw", "q": "qcow2"}
    assert sha256(DISK) in lab.run("sha256sum", f"{STORE}/template/t/disk.raw")
    assert lab.run("stat", "-c", "%u", f"{STORE}/template/q/disk.qcow2").strip() == "850"


def test_a_power_cut_in_the_middle(lab: Lab, web: Web) -> None:
    web.content = DISK * 4
    slow = request("cut", bytes_per_second=len(DISK))
    assert lab.ask("PUT", "/v1/storage/jobs/cut", slow)[0] == 201
    until(lambda: lab.ask("GET", "/v1/storage/jobs/cut")[1].get("progress", {}).get("bytes"))
    lab.containers.kill("s1")
    lab.start()
    assert until(lambda: lab.ended("cut"))["state"] == "done"
    assert sha256(web.content) in lab.run("sha256sum", f"{STORE}/template/cut/disk.raw")


def test_a_killed_daemon_goes_on(lab: Lab, web: Web) -> None:
    web.content = DISK * 4
    assert lab.ask("PUT", "/v1/storage/jobs/kill", request("kill", bytes_per_second=len(DISK)))[0] == 201
    until(lambda: lab.ask("GET", "/v1/storage/jobs/kill")[1].get("progress", {}).get("bytes"))
    lab.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "sysvm-storage")
    assert lab.ended("kill")["state"] == "done"
    assert lab.ended("kill")["attempts"] == 2


def test_the_management_plane_is_nobody_s_to_ask(lab: Lab) -> None:
    """Even where the document allows its addresses: the packet filter doesn't."""
    inner = request("inner", urls=["https://169.254.3.1:8443/"])
    assert lab.ask("PUT", "/v1/storage/jobs/inner", inner)[0] == 201
    until(lambda: lab.ask("GET", "/v1/storage/jobs/inner")[1]["state"] == "running")
    assert "skuid 850 drop" in lab.run("nft", "list", "chain", "inet", "sysvm", "output")
    with lab.socket("mgmt") as listening:
        listening.bind(("169.254.3.1", 8443))
        listening.listen()
        listening.settimeout(3)
        with pytest.raises(TimeoutError):
            listening.accept()
    assert lab.ask("POST", "/v1/storage/jobs/inner/cancel")[0] == 200
    assert lab.ended("inner")["state"] == "cancelled"


def test_errors_are_problems(lab: Lab) -> None:
    status, told = lab.ask("PUT", "/v1/storage/jobs/wrong", request("../x"))
    assert status == 422 and told["errors"][0]["pointer"].endswith("/entry/id"), told
    assert lab.ask("GET", "/v1/storage/jobs/none")[0] == 404
    status, told = lab.ask("PUT", "/v1/storage/jobs/wrong", request("x", store="none"))
    assert status == 422 and "no store" in told["detail"]
    assert lab.ask("GET", "/v1/storage/%2e%2e/%2e%2e/config")[0] == 404


def test_stores_come_go_and_are_mounted(lab: Lab) -> None:
    """A store whose server isn't there takes nothing from the others, and says what is the matter."""
    stores = {
        "local": {"kind": "local", "reserve_bytes": 0},
        "second": {"kind": "local", "reserve_bytes": 0, "state": "read_only"},
        "far": {"kind": "nfs", "server": "203.0.113.99", "export": "/x", "timeout_seconds": 1, "retries": 1},
    }
    lab.put(document(2, stores=stores))
    until(lambda: lab.ask("GET", "/v1/storage/stores")[1]["stores"].get("second", {}).get("open"))
    _, told = lab.ask("GET", "/v1/storage/stores")
    assert told["stores"]["local"]["open"] and told["stores"]["local"]["free_bytes"] > 0
    until(lambda: lab.ask("GET", "/v1/storage/stores")[1]["stores"]["far"]["detail"] == "It isn't mounted")
    _, health = lab.ask("GET", "/v1/health?fresh")
    assert [check["name"] for check in health["checks"] if not check["ok"]] == ["store far"]
    # What is mounted by its unit is seen by the daemon, whose view of the file system is its own.
    lab.run("systemctl", "stop", "sysvm-store@far.service")
    lab.run("mount", "-t", "tmpfs", "-o", "mode=0750,uid=850,gid=850", "none", "/run/sysvm-stores/far")
    until(lambda: lab.ask("GET", "/v1/storage/stores")[1]["stores"]["far"]["open"])
    assert lab.ask("PUT", "/v1/storage/jobs/ro", request("x", store="second"))[0] == 409
    lab.run("umount", "--lazy", "/run/sysvm-stores/far")
    lab.put(document(3))
    until(lambda: set(lab.ask("GET", "/v1/storage/stores")[1]["stores"]) == {"local"})
    until(lab.healthy)


def test_the_example_is_taken(lab: Lab) -> None:
    """Its other stores and networks aren't here; that is health's to say, and nothing else's."""
    wanted = {**example("secstorage"), "generation": 4, "interfaces": document(1)["interfaces"]}
    lab.put(wanted)
    lab.put(document(5))
    until(lab.healthy)


def test_its_ports(lab: Lab) -> None:
    found = namespace.run(full_name(lab.containers.cloud, "net"), ["ping", "-c1", "-W5", "203.0.113.10"])
    assert found.returncode == 0
    for port in (22, 111, 8443):
        with lab.socket("net") as sock:
            sock.settimeout(1)
            with pytest.raises(OSError):
                sock.connect(("203.0.113.10", port))
