"""IPsec by the kernel: xfrm interfaces, policy- and route-based tunnels, remote users. The other sides are
strongSwans in user space, so ESP is in UDP."""

from collections.abc import Iterator
from typing import Any

import pytest

from appliance.devcloud import end
from appliance.runtime import namespace
from appliance.runtime.runtime import Interface
from images.image import Image
from images.tree import build as build_tree
from tests.ipsec_peer import Peer, Pki
from tests.vm.between import PUBLIC, Between, between, document, until

PSK = "a key of the tests, long enough"
ADDRESSES = {"site": "203.0.113.20", "branch": "203.0.113.21", "laptop": "203.0.113.40"}
NETWORKS = {"site": "192.168.5.1", "branch": "192.168.6.1"}


@pytest.fixture(scope="module")
def started(
    image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Between, dict[str, Peer]]]:
    disk = image.directory / "sysvm-router.qcow2"
    peers: dict[str, Peer] = {}
    with between(disk, tmp_path_factory.mktemp("ipsec")) as lab:
        lab.start()
        for number, (name, address) in enumerate(ADDRESSES.items()):
            card = Interface(segment="public0", mac=f"02:00:cb:00:71:2{number}")
            local = (NETWORKS[name],) if name in NETWORKS else ()
            end.up(
                lab.cloud.cloud, name, interface=card, link="eth0", addresses=[f"{address}/24"], local=local
            )
            peers[name] = Peer(lab.namespace(name), build_tree("router"), tmp_path_factory.mktemp(name))
        try:
            yield lab, peers
        finally:
            for peer in peers.values():
                peer.kill()


def tunnel(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "local_address": PUBLIC, "remote_address": ADDRESSES[name], "psk": PSK,
        "local_subnets": ["10.1.1.0/24"], "remote_subnets": [NETWORKS[name].removesuffix("1") + "0/24"],
        **fields,
    }  # fmt: skip


def swanctl(name: str) -> str:
    network = NETWORKS[name].removesuffix("1") + "0/24"
    return f"""
connections {{
  router {{
    version = 2
    local_addrs = {ADDRESSES[name]}
    remote_addrs = {PUBLIC}
    proposals = aes256gcm16-prfsha256-ecp256
    local {{
      auth = psk
    }}
    remote {{
      auth = psk
    }}
    children {{
      net {{
        local_ts = {network}
        remote_ts = 10.1.1.0/24
        esp_proposals = aes256gcm16-ecp256
      }}
    }}
  }}
}}
secrets {{
  ike-router {{
    id = {PUBLIC}
    secret = "{PSK}"
  }}
}}
"""


def user() -> str:
    return f"""
connections {{
  vpn {{
    version = 2
    remote_addrs = {PUBLIC}
    vips = 0.0.0.0
    proposals = aes256-sha256-modp2048
    local {{
      auth = eap-mschapv2
      eap_id = alice
    }}
    remote {{
      auth = pubkey
      cacerts = ca.pem
      id = vpn.example
    }}
    children {{
      net {{
        remote_ts = 0.0.0.0/0
        esp_proposals = aes256-sha256
      }}
    }}
  }}
}}
secrets {{
  eap-alice {{
    id = alice
    secret = "correct horse"
  }}
}}
"""


def pings(lab: Between, name: str, address: str, *more: str) -> bool:
    return (
        namespace.run(lab.namespace(name), ["ping", "-n", "-c", "1", "-W", "3", *more, address]).returncode
        == 0
    )


def test_tunnels_and_users_by_the_kernel(started: tuple[Between, dict[str, Peer]]) -> None:
    lab, peers = started
    for name in NETWORKS:
        peers[name].start(swanctl(name))
    authority = Pki("users' authority")
    certificate, key = authority.issue("vpn.example")
    wanted = document()
    wanted["ipsec"] = {"office": tunnel("site"), "branch": tunnel("branch", link="vpn0")}
    wanted["remote_access"] = {
        "pool": ["10.200.0.0/24"],
        "ikev2": {
            "address": PUBLIC,
            "identity": "vpn.example",
            "certificate": certificate,
            "private_key": key,
        },
        "users": {"alice": {"password": "correct horse"}},
    }
    assert "aesni" not in lab.sh("lsmod"), "to try it out is for those who want it"
    lab.put(wanted)
    assert "aesni" in lab.sh("lsmod")
    until(lambda: pings(lab, "vm1", NETWORKS["site"]))
    until(lambda: pings(lab, "vm1", NETWORKS["branch"]))
    assert pings(lab, "site", "10.1.1.10", "-I", NETWORKS["site"])
    assert pings(lab, "branch", "10.1.1.10", "-I", NETWORKS["branch"])
    # The kernel's, each by its own link.
    states = lab.sh("ip xfrm state")
    assert states.count("espinudp") == 4
    assert "if_id 0xffff" in states and "if_id 0x1" in states
    assert "xfrm" in lab.sh("ip -d link show vpn0") and "xfrm" in lab.sh("ip -d link show ipsec0")
    assert "vpn0" in lab.sh("ip route get 192.168.6.1")
    # What isn't of a tunnel's networks doesn't pass it.
    assert not pings(lab, "vm3", NETWORKS["site"])
    assert not pings(lab, "vm3", NETWORKS["branch"])
    assert not pings(lab, "branch", "10.1.2.10", "-I", NETWORKS["branch"])
    peers["laptop"].start(user(), {"x509ca/ca.pem": authority.certificate})
    peers["laptop"].initiate("net")
    assert pings(lab, "laptop", "10.1.1.10")
    assert lab.changes(wanted) == ()
    # Removed, and gone at once; the tunnels aren't touched.
    before = {name: peers[name].spis("router") for name in NETWORKS}
    wanted["remote_access"]["users"] = {}
    lab.put(wanted)
    assert not pings(lab, "laptop", "10.1.1.10")
    assert {name: peers[name].spis("router") for name in NETWORKS} == before
    # While a tunnel is down nothing leaves for its far side.
    peers["branch"].stop()
    until(lambda: not pings(lab, "vm1", NETWORKS["branch"]))
    assert pings(lab, "vm1", NETWORKS["site"])
    lab.put(document())
    assert lab.sh("ip xfrm state; ip xfrm policy").strip() == ""
    assert "ipsec0" not in lab.sh("ls /sys/class/net")
