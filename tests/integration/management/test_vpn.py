"""`sysvm vpn` asks the management plane, which asks the appliance; new users get into the document."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from management_peer import Peer
from test_serve import Service

from appliance.curve25519 import public_key
from appliance.vpn import vpn
from tests.examples import example

TUNNEL = example("wireguard")["wireguard"]["vpn0"]
PUBLIC = public_key(TUNNEL["private_key"])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "state")
    service.directory.mkdir()
    service.start()
    yield service
    service.stop()


@pytest.fixture
def peer(service: Service, tmp_path: Path) -> Iterator[Peer]:
    peer = Peer("r1")
    service.create(peer, tmp_path)
    alice = {
        "public_key": TUNNEL["peers"]["alice"]["public_key"], "connected": True,
        "latest_handshake": int(time.time()) - 5, "endpoint": "198.51.100.7:40112",
        "allowed_ips": ["10.99.0.2/32"], "sent": 182344, "received": 9120772,
    }  # fmt: skip
    tunnel = {"in_kernel": True, "public_key": PUBLIC, "listen_port": 51820, "peers": {"alice": alice}}
    peer.told["/v1/vpn"] = {"wireguard": {"vpn0": tunnel}}
    value = {key: item for key, item in example("wireguard").items() if key != "generation"}
    answer = service.ask("PUT", "/v1/appliances/r1/document?wait=20", value)
    assert answer.status_code == 200, answer.text
    yield peer
    peer.stop()


def run(service: Service, *arguments: str, code: int = 0) -> str:
    options = ["--state", str(service.directory), "--api", service.url]
    result = CliRunner().invoke(vpn, [*options, *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def test_what_there_is(service: Service, peer: Peer) -> None:
    shown = run(service, "show", "r1")
    assert f"vpn0: {PUBLIC}, UDP port 51820, in the kernel" in shown
    line = next(line for line in shown.splitlines() if line.split()[:1] == ["alice"])
    assert "connected" in line and "198.51.100.7:40112" in line and "9,120,772" in line


def test_a_new_user(service: Service, peer: Peer) -> None:
    printed = run(service, "client", "r1", "vpn0", "bob", "--endpoint", "vpn.example.com:4500")
    fields = dict(line.split(" = ", 1) for line in printed.splitlines() if " = " in line)
    assert (fields["PublicKey"], fields["Endpoint"]) == (PUBLIC, "vpn.example.com:4500")
    # When the command ends the appliance has him, with the tunnel's own key, which nobody was shown.
    assert peer.document is not None
    has = peer.document["wireguard"]["vpn0"]
    assert has["private_key"] == TUNNEL["private_key"]
    assert has["peers"]["bob"]["public_key"] == public_key(fields["PrivateKey"])
    assert has["peers"]["bob"]["preshared_key"] == fields["PresharedKey"]
    shown = service.ask("GET", "/v1/appliances/r1/document").text
    for secret in (TUNNEL["private_key"], fields["PrivateKey"], fields["PresharedKey"]):
        assert secret not in shown
    assert json.loads(shown)["wireguard"]["vpn0"]["peers"]["bob"]["preshared_key"] == "**********"
    assert "has a peer bob already" in run(service, "client", "r1", "vpn0", "bob", code=1)
    assert "no WireGuard tunnel vpn7" in run(service, "client", "r1", "vpn7", "carol", code=1)
    assert "r9" in run(service, "show", "r9", code=1)
