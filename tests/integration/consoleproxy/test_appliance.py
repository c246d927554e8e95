"""The appliance as a container: a document in, and a console through its packet filter out."""

import base64
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.boot import ControlInterface
from appliance.devcloud import end
from appliance.management.authority import Authority, boot_json
from appliance.runtime.container import Containers
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Interface, Machine
from consoleproxy.console_server import ticket
from images.tree import build
from tests.integration.consoleproxy.fake_vnc import Recorder
from tests.integration.consoleproxy.proxy_lab import Viewer
from tests.namespace import needs_root, within

pytestmark = [pytest.mark.root, needs_root]
CONTROL, PUBLIC, HOST = "169.254.3.20", "203.0.113.20", "10.9.0.21"
MACS = {"control0": "02:00:a9:fe:03:14", "public0": "02:00:cb:00:71:14", "hosts0": "02:00:0a:09:00:14"}
KEY = Ed25519PrivateKey.generate()


class Lab:
    def __init__(self, directory: Path) -> None:
        self.containers = Containers(f"con{os.getpid() % 10**8}")
        self.containers.clear()
        cloud = self.containers.cloud
        self.containers.switch.up(list(MACS))
        for name, segment, mac, address in (
            ("mgmt", "control0", "02:00:a9:fe:03:01", "169.254.3.1/24"),
            ("net", "public0", "02:00:cb:00:71:01", "203.0.113.1/24"),
            ("host", "hosts0", "02:00:0a:09:00:21", f"{HOST}/24"),
        ):
            card = Interface(segment=segment, mac=mac)
            end.up(cloud, name, interface=card, link="eth0", addresses=[address])
        with within(full_name(cloud, "host")):
            self.screen = Recorder(address=HOST)
        self.authority = Authority.open(directory)
        control = ControlInterface(mac=MACS["control0"], address=f"{CONTROL}/24", gateway=None)
        boot = boot_json(self.authority.boot("c1", "consoleproxy", control)).encode()
        cards = tuple(Interface(segment=name, mac=mac) for name, mac in MACS.items())
        machine = Machine(name="c1", image=build("consoleproxy"), interfaces=cards, boot=boot)
        self.containers.start(machine, wait=120)

    def log(self) -> str:
        return self.containers.run(
            "c1", ["journalctl", "-b", "-u", "sysvm-console", "-n", "40"], timeout=60
        ).stdout

    def document(self, generation: int, **sections: Any) -> dict[str, Any]:
        public = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
        return {
            "role": "consoleproxy",
            "name": "c1",
            "generation": generation,
            "interfaces": {
                "public0": {"mac": MACS["public0"], "addresses": [f"{PUBLIC}/24"]},
                "hosts0": {"mac": MACS["hosts0"], "addresses": ["10.9.0.20/24"]},
            },
            "listen": {"plain": {"address": PUBLIC, "port": 80, "tls": False}},
            "issuers": {"plane": public},
            "consoles": {"vm1": {"address": HOST, "port": self.screen.port}},
            **sections,
        }

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with within(full_name(self.containers.cloud, "mgmt")):
            raw = socket.create_connection((CONTROL, 8443), 60)
        with self.authority.client_context().wrap_socket(raw, server_hostname="c1") as secured:
            connection = http.client.HTTPConnection("c1")
            connection.sock = secured
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def put(self, wanted: dict[str, Any]) -> None:
        status, told = self.ask("PUT", "/v1/config", wanted)
        assert status == 200, told
        assert self.ask("POST", "/v1/plan", wanted) == (200, {"changes": []}), "it converged"

    def browser(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        with within(full_name(self.containers.cloud, "net")):
            raw = socket.create_connection((PUBLIC, 80), 60)
        connection = http.client.HTTPConnection(PUBLIC)
        connection.sock = raw
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read()

    def viewer(self, user: str) -> Viewer:
        claims = {"aud": "c1", "sub": user, "console": "vm1", "rights": ["control"], "jti": user}
        signed = ticket.sign(KEY, claims | {"exp": time.time() + 60}, issuer="plane")
        status, answer = self.browser("POST", "/v1/sessions", {"ticket": signed})
        assert status == 200, answer
        with within(full_name(self.containers.cloud, "net")):
            return Viewer(80, json.loads(answer)["token"], address=PUBLIC)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("management"))
    made.put(made.document(1))
    yield made
    made.containers.clear()


def test_a_console(lab: Lab) -> None:
    viewer = lab.viewer("ann")
    assert viewer.greet() == b"desktop", lab.log()
    assert viewer.view()["title"] == "vm1"
    status, told = lab.ask("GET", "/v1/console/sessions")
    assert status == 200
    assert [session["user"] for session in told["sessions"]] == ["ann"]
    # A document that changes something else cuts nobody.
    lab.put(lab.document(2, limits={"idle_seconds": 600}))
    viewer.command(do="ping")
    while {"pong": True} not in viewer.told:
        viewer._take()
    lab.put(lab.document(3, revoked={"users": ["ann"]}))
    assert viewer.closed().reason == "kicked"
    lab.put(lab.document(4))


def test_it_is_healthy(lab: Lab) -> None:
    _, told = lab.ask("GET", "/v1/health?fresh")
    assert told["ok"], told
    assert "console" in [check["name"] for check in told["checks"]]


def test_the_images_pages(lab: Lab) -> None:
    for path in ("/", "/page.js", "/novnc/core/rfb.js", "/xterm/xterm.js", "/xterm/xterm.css"):
        status, body = lab.browser("GET", path)
        assert status == 200, path
        assert body


def test_the_relays_run_on_uvloop(lab: Lab) -> None:
    done = lab.containers.run("c1", ["python3", "-c", "import uvloop"], timeout=60)
    assert done.returncode == 0, done.stderr
