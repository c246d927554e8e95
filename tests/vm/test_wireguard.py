"""The kernel's own WireGuard, with somebody else's at the other end: in user space, and set by wg(8)."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.runtime import namespace
from images.image import Image
from tests.vm.between import GUEST, PUBLIC, Between, between, document, until
from tests.wireguard_peer import WireGuardPeer, new_key

KEY, SHARED = new_key(), new_key()
INSIDE = ("10.99.0.0/24", "fd00:99::/64", "10.1.1.0/24")
PUBLIC_KEY = WireGuardPeer("", (), (), private_key=KEY).public_key


@pytest.fixture(scope="module")
def lab(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Between]:
    disk = image.directory / "sysvm-router.qcow2"
    with between(disk, tmp_path_factory.mktemp("wireguard"), name="bwg") as lab:
        lab.start()
        yield lab


@pytest.fixture(scope="module")
def alice(lab: Between) -> WireGuardPeer:
    return WireGuardPeer(
        place=lab.namespace("net"), addresses=("10.99.0.2/32", "fd00:99::2/128"), networks=INSIDE
    )


def wanted(alice: WireGuardPeer, **peers: Any) -> dict[str, Any]:
    found = document()
    first = {"public_key": alice.public_key, "preshared_key": SHARED, "allowed_ips": list(alice.addresses)}
    found["wireguard"] = {
        "vpn0": {
            "private_key": KEY,
            "listen": {"addresses": [PUBLIC]},
            "addresses": ["10.99.0.1/24", "fd00:99::1/64"],
            "peers": {"alice": first, **peers},
        }
    }
    return found


def strangers(count: int) -> dict[str, Any]:
    """Peers that nobody is, with addresses of both families."""
    return {
        f"user-{number}": {
            "public_key": WireGuardPeer("", (), ()).public_key,
            "preshared_key": new_key(),
            "allowed_ips": [f"10.99.0.{number}/32", f"fd00:99::{number:x}/128"],
        }
        for number in range(10, 10 + count)
    }


def state(lab: Between) -> Any:
    with lab.machine.agent() as agent:
        return agent.vpn()["wireguard"]["vpn0"]


def reaches(lab: Between, address: str) -> bool:
    argv = ["ping", "-n", "-c", "1", "-W", "2", address]
    return namespace.run(lab.namespace("net"), argv, timeout=30).returncode == 0


def test_a_user_by_the_kernels_tunnel(lab: Between, alice: WireGuardPeer) -> None:
    lab.put(wanted(alice))
    assert lab.changes(wanted(alice)) == ()
    assert state(lab)["in_kernel"]
    assert "wireguard" in lab.sh("ip -details link show dev vpn0")
    with lab.machine.agent() as agent:
        assert agent.status().answer["capabilities"]["wireguard"]
    with alice.up(tunnel_key=PUBLIC_KEY, endpoint=f"{PUBLIC}:51820", preshared_key=SHARED, keepalive=1):
        until(alice.handshake)
        assert reaches(lab, GUEST) and reaches(lab, "10.99.0.1") and reaches(lab, "fd00:99::1")
        session, before = alice.handshake(), state(lab)["peers"]["alice"]
        # Others come in hundreds, change and go: her session is the same.
        others = strangers(200)
        lab.put(wanted(alice, **others))
        assert lab.changes(wanted(alice, **others)) == ()
        assert len(lab.sh("wg show vpn0 peers").split()) == 201
        name = "user-10"
        others[name] = {**others[name], "allowed_ips": ["10.99.0.250/32"], "persistent_keepalive": 7}
        others[name].pop("preshared_key")
        others["user-11"] |= {"endpoint": "[2001:db8::7]:5000"}
        lab.put(wanted(alice, **others))
        key = others[name]["public_key"]
        shown = {line.split()[0]: line.split()[1:] for line in lab.sh("wg show vpn0 dump").splitlines()[1:]}
        assert shown[key][0] == "(none)" and shown[key][2] == "10.99.0.250/32" and shown[key][6] == "7"
        assert shown[others["user-11"]["public_key"]][1] == "[2001:db8::7]:5000"
        lab.put(wanted(alice))
        assert reaches(lab, GUEST)
        after = state(lab)["peers"]["alice"]
        assert alice.handshake() == session
        assert (after["latest_handshake"], after["endpoint"]) == (
            before["latest_handshake"], before["endpoint"],
        )  # fmt: skip
        assert after["sent"] > before["sent"]


def test_bytes_are_a_users_and_only_grow(lab: Between, alice: WireGuardPeer) -> None:
    lab.put(wanted(alice))
    size = 1_000_000

    def total() -> int:
        found: int = lab.usage()["vpn-vpn0/alice"]["sent"]["bytes"]
        return found

    with alice.up(tunnel_key=PUBLIC_KEY, endpoint=f"{PUBLIC}:51820", preshared_key=SHARED, keepalive=1):
        until(lambda: reaches(lab, GUEST))
        before = total()
        with lab.socket("vm1") as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((GUEST, 80))
            server.listen()
            here = lab.socket("net")
            here.settimeout(60)
            here.connect((GUEST, 80))
            there, _ = server.accept()
        there.settimeout(60)
        for _ in range(size // 20_000):
            here.sendall(bytes(20_000))
            left = 20_000
            while left:
                left -= len(there.recv(left))
        assert size < total() - before < size * 1.2
        counted = total()
        lab.put(document())
        assert "vpn0" not in lab.sh("ls /sys/class/net")
        assert total() >= counted
        lab.put(wanted(alice))
        until(lambda: reaches(lab, GUEST))
        assert total() >= counted


def test_what_others_did_is_undone_and_all_is_back_after_a_power_cut(
    lab: Between, alice: WireGuardPeer
) -> None:
    lab.put(wanted(alice))
    stranger = WireGuardPeer("", (), ()).public_key
    lab.sh(f"wg set vpn0 peer {stranger} allowed-ips 10.99.0.66/32")
    until(lambda: stranger not in lab.sh("wg show vpn0 peers"))
    lab.sh("ip link delete vpn0")
    until(lambda: "vpn0" in lab.sh("wg show interfaces"))
    until(lambda: lab.changes(wanted(alice)) == ())
    with alice.up(tunnel_key=PUBLIC_KEY, endpoint=f"{PUBLIC}:51820", preshared_key=SHARED, keepalive=1):
        until(lambda: reaches(lab, GUEST))
        lab.machine.cut_power()
        lab.start()
        until(lambda: reaches(lab, GUEST))
    assert lab.changes(wanted(alice)) == ()


def test_a_tunnel_between_two_kernels(lab: Between, alice: WireGuardPeer) -> None:
    """The other end is the same kernel's, in a namespace of the machine's own, set up by wg(8) and ip(8)."""
    other = WireGuardPeer("", (), ())
    lab.put(wanted(alice, other={"public_key": other.public_key, "allowed_ips": ["10.60.0.0/16"]}))
    config = f"[Interface]\\nPrivateKey = {other.private_key}\\n[Peer]\\nPublicKey = {PUBLIC_KEY}\\n"
    config += f"AllowedIPs = 10.99.0.0/24, 10.1.1.0/24\\nEndpoint = {PUBLIC}:51820\\n"
    lab.sh(
        f"""
        ip netns add far
        ip link add far0 type wireguard
        printf '{config}' | wg setconf far0 /dev/stdin
        ip link set far0 netns far
        ip -n far address add 10.60.0.1/16 dev far0
        ip -n far link set far0 up
        ip -n far route add 10.99.0.0/24 dev far0
        ip -n far route add 10.1.1.0/24 dev far0
        """
    )
    try:
        lab.sh(f"ip netns exec far ping -c 2 -W 5 {GUEST}")
        told = json.dumps(state(lab)["peers"]["other"])
        assert state(lab)["peers"]["other"]["latest_handshake"] > time.time() - 600, told
    finally:
        lab.sh("ip netns delete far")
