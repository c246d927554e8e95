"""What a tunnel of the document comes to: its interface, its routes, the firewall's elements."""

import base64
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from appliance import rendering
from appliance.curve25519 import multiplied, public_key
from appliance.model import RefusedError
from appliance.resources import Address, Ruleset, WireGuard
from appliance.roles import resources
from appliance.route import Route
from router import wireguard
from tests.examples import example, problems, read

KEY = base64.b64encode(bytes([7]) * 32).decode()
SECRETS = [
    example("wireguard")["wireguard"]["vpn0"]["private_key"],
    example("everything")["wireguard"]["vpn0"]["private_key"],
    example("everything")["wireguard"]["vpn0"]["peers"]["alice"]["preshared_key"],
]


def elements(value: Any) -> dict[str, dict[str, str | None]]:
    return {name: keys for name, keys in wireguard.elements(read(value)).items() if keys}


def test_no_tunnel_is_nothing() -> None:
    value = example("router")
    assert wireguard.elements(read(value)) == {}
    ruleset = next(found for found in resources(read(value)) if isinstance(found, Ruleset))
    assert "peers4" not in ruleset.text


def test_a_tunnel() -> None:
    found = list(wireguard.resources(read(example("wireguard"))))
    tunnel = found[0]
    assert isinstance(tunnel, WireGuard)
    assert (tunnel.link, tunnel.listen_port, tunnel.mtu) == ("vpn0", 51820, 1420)
    assert {peer.name: sorted(peer.allowed_ips) for peer in tunnel.peers} == {
        "alice": ["10.99.0.2/32", "fd00:99::2/128"],
        "office": ["10.50.0.0/16"],
    }
    # The pool's own route comes with the address.
    assert found[1:] == [
        Address(link="vpn0", address="10.99.0.1/24"),
        Address(link="vpn0", address="fd00:99::1/64"),
        Route(destination="10.50.0.0/16", link="vpn0"),
    ]


def test_what_peers_may_reach() -> None:
    assert elements(example("wireguard")) == {
        "peers4": {"10.99.0.0/24": None, "10.50.0.0/16": None},
        "peers6": {"fd00:99::/64": None},
        "reach_guest0_4": {"10.99.0.2": None, "10.50.0.0/16": None},
        "reach_guest0_6": {"fd00:99::2": None},
    }
    value = example("everything")
    found = elements(value)
    assert found["reach_guest1_4"] == {"10.99.0.2": None}
    assert found["reach_vpn0_4"] == {"10.99.0.3": None, "10.50.0.0/16": None}
    assert found["reach_vpn0_6"] == {"fd00:50::/48": None}
    assert set(found["peers_source_nat4"].values()) == {"203.0.113.7"}
    assert set(found["peers_source_nat6"].values()) == {"2001:db8::5"}
    value["wireguard"]["vpn0"]["peers"]["alice"]["reach"] = []
    assert "reach_guest1_4" not in elements(value)


def test_only_a_full_tunnel_leads_out() -> None:
    def text(value: Any) -> str:
        return next(found.text for found in resources(read(value)) if isinstance(found, Ruleset))

    out = re.compile(r'iifname "vpn0" oifname "public\*" ip6? saddr @peers[46] accept')
    assert not out.search(text(example("wireguard")))
    assert len(out.findall(text(example("everything")))) == 2


def test_one_peer_more_changes_nothing_of_the_others() -> None:
    value = example("wireguard")
    before = read(value)
    changed = {**value, "wireguard": {"vpn0": {**value["wireguard"]["vpn0"]}}}
    changed["wireguard"]["vpn0"]["peers"] = {
        **value["wireguard"]["vpn0"]["peers"],
        "bob": {"public_key": KEY, "allowed_ips": ["10.99.0.9/32"]},
    }
    one, two = (next(r for r in resources(doc) if isinstance(r, Ruleset)) for doc in (before, read(changed)))
    assert one.text == two.text
    assert two.elements["reach_guest0_4"].keys() - one.elements["reach_guest0_4"].keys() == {"10.99.0.9"}


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_in_no_text(secret: str) -> None:
    for name in ("everything", "wireguard"):
        document = read(example(name))
        found = list(resources(document))
        assert secret not in repr(found) + repr(document)
        assert secret not in document.model_dump_json()
        assert secret not in "".join(rendering.pieces(found))


@pytest.mark.parametrize(
    "key",
    ["", "AAAA", KEY[:-1], KEY + "=", KEY[:-2] + "d=", base64.b64encode(bytes(32)).decode(), KEY + "\n",
     base64.b64encode(bytes(33)).decode(), KEY.replace("B", "-")],
)  # fmt: skip
def test_keys_that_are_none(key: str) -> None:
    for section, field in (("vpn0", "private_key"), ("peers", "public_key"), ("peers", "preshared_key")):
        value = example("wireguard")
        tunnel = value["wireguard"]["vpn0"]
        (tunnel if section == "vpn0" else tunnel["peers"]["alice"])[field] = key
        found = problems(value)
        assert [problem.pointer.rpartition("/")[2] for problem in found] == [field]
        assert not key or key not in found[0].detail


@pytest.mark.parametrize(
    "endpoint",
    ["vpn.example.com", "vpn.example.com:0", "vpn.example.com:65536", "192.0.2.300:5", "192.0.2.7", "::1:5",
     "[::1]", "[fe80::1%eth0]:5", "[192.0.2.7]:5", "[2001:DB8::1]:5", "a_b:5", "-a:5", "a..b:5", "a.:5",
     "Vpn.example.com:5", "a:5\nprivate_key=00", "a:٣", "10.1:5"],
)  # fmt: skip
def test_endpoints_that_are_none(endpoint: str) -> None:
    value = example("wireguard")
    value["wireguard"]["vpn0"]["resolvers"] = ["192.0.2.53"]
    value["wireguard"]["vpn0"]["peers"]["office"]["endpoint"] = endpoint
    assert [problem.pointer.rpartition("/")[2] for problem in problems(value)] == ["endpoint"]


@pytest.mark.parametrize("endpoint", ["vpn.example.com:1", "192.0.2.7:65535", "[2001:db8::7]:51820", "a:5"])
def test_endpoints(endpoint: str) -> None:
    value = example("wireguard")
    value["wireguard"]["vpn0"]["resolvers"] = ["192.0.2.53"]
    value["wireguard"]["vpn0"]["peers"]["office"]["endpoint"] = endpoint
    read(value)


def test_a_mask_is_no_key() -> None:
    masked = read(example("wireguard")).model_dump(mode="json", exclude_unset=True)
    with pytest.raises(RefusedError, match="private_key"):
        read(masked)


# RFC 7748, section 5.2.
VECTORS = [
    ("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
     "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
     "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
    ("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
     "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
     "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"),
]  # fmt: skip


@pytest.mark.parametrize(("scalar", "point", "product"), VECTORS)
def test_the_vectors_of_the_rfc(scalar: str, point: str, product: str) -> None:
    u = int.from_bytes(bytes.fromhex(point), "little") & (1 << 255) - 1
    assert multiplied(bytes.fromhex(scalar), u).hex() == product


@given(st.binary(min_size=32, max_size=32))
def test_public_keys_are_those_of_another_library(private: bytes) -> None:
    expected = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    assert public_key(base64.b64encode(private).decode()) == base64.b64encode(expected).decode()
