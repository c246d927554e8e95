"""The user's end of a tunnel, and the command that makes it."""

import configparser
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.curve25519 import public_key
from router.wireguard_client import Client, NoAddressError, config, destinations, free_addresses
from tests.examples import example, read

CLIENT = Client(
    private_key="PRIVATE", public_key="PUBLIC", preshared_key="", addresses=("10.99.0.9/32",),
    persistent_keepalive=25,
)  # fmt: skip


def parsed(text: str) -> configparser.ConfigParser:
    """As wg-quick(8) reads it."""
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_the_first_addresses_that_are_free() -> None:
    assert free_addresses(read(example("wireguard")).wireguard["vpn0"]) == ("10.99.0.3/32", "fd00:99::3/128")
    # Of the office's addresses one is of the pool; alice has a hole's.
    assert free_addresses(read(example("everything")).wireguard["vpn0"])[0] == "10.99.0.4/32"
    value = example("wireguard")
    value["wireguard"]["vpn0"]["addresses"] = ["10.99.0.1/30"]
    value["wireguard"]["vpn0"]["peers"] = {}
    assert free_addresses(read(value).wireguard["vpn0"]) == ("10.99.0.2/32",)
    value["wireguard"]["vpn0"]["addresses"] = ["10.99.0.1/31"]
    with pytest.raises(NoAddressError, match=r"10\.99\.0\.0/31"):
        free_addresses(read(value).wireguard["vpn0"])


def test_what_goes_into_the_tunnel() -> None:
    document = read(example("wireguard"))
    assert destinations(document, document.wireguard["vpn0"], everything=True) == [
        "10.99.0.0/24", "fd00:99::/64", "10.1.1.0/24", "fd00:1::/64",
    ]  # fmt: skip
    document = read(example("everything"))
    section = document.wireguard["vpn0"]
    assert destinations(document, section, everything=True) == ["0.0.0.0/0", "::/0"]
    assert destinations(document, section, everything=False) == [
        "10.99.0.0/24", "fd00:99::/64", "10.1.1.0/24", "fd00:1::/64", "10.1.16.0/20",
    ]  # fmt: skip


def test_the_file() -> None:
    document = read(example("wireguard"))
    text = config(document, "vpn0", CLIENT, public_key="TUNNEL", dns=["10.1.1.1"])
    assert text == (
        "[Interface]\nPrivateKey = PRIVATE\nAddress = 10.99.0.9/32\nDNS = 10.1.1.1\nMTU = 1420\n\n"
        "[Peer]\nPublicKey = TUNNEL\nEndpoint = 203.0.113.2:51820\n"
        "AllowedIPs = 10.99.0.0/24, fd00:99::/64, 10.1.1.0/24, fd00:1::/64\nPersistentKeepalive = 25\n"
    )


def test_whom_the_user_asks_for_names() -> None:
    """The router, on the networks that he reaches: where it knows other names, too."""
    document = read(example("everything"))
    text = config(document, "vpn0", CLIENT, public_key="TUNNEL")
    assert "\nDNS = 10.1.1.1" in text
    value = example("everything")
    value["dns"]["guest0"]["upstreams"] = []
    value["wireguard"]["vpn0"]["reach"] = ["guest0"]
    assert "DNS" not in config(read(value), "vpn0", CLIENT, public_key="TUNNEL")
    assert "DNS" not in config(document, "vpn0", CLIENT, public_key="TUNNEL", dns=[])


def test_nothing_of_a_key_is_in_a_representation() -> None:
    assert "PRIVATE" not in repr(CLIENT)


def written(path: Path, *arguments: str) -> Any:
    return CliRunner().invoke(main, ["vpn", "client", "r1", "vpn0", *arguments, "--document", str(path)])


def test_the_command_adds_a_user_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "r1.json"
    path.write_text(json.dumps(example("wireguard")))
    made = written(path, "bob", "--endpoint", "vpn.example.com", "--dns", "10.1.1.1")
    assert made.exit_code == 0, made.output
    told = parsed(made.output)
    changed = json.loads(path.read_text())
    peer = changed["wireguard"]["vpn0"]["peers"]["bob"]
    assert peer["public_key"] == public_key(told["Interface"]["PrivateKey"])
    assert peer["preshared_key"] == told["Peer"]["PresharedKey"]
    assert ", ".join(peer["allowed_ips"]) == told["Interface"]["Address"] == "10.99.0.3/32, fd00:99::3/128"
    assert told["Peer"]["PublicKey"] == public_key(changed["wireguard"]["vpn0"]["private_key"])
    assert told["Peer"]["Endpoint"] == "vpn.example.com:51820"
    read(changed)
    again = written(path, "bob")
    assert again.exit_code == 1 and "has a peer bob already" in again.output
    code = written(path, "carol", "--qr")
    assert code.exit_code == 0 and "█" in code.output and "PrivateKey" not in code.output
    assert "carol" in json.loads(path.read_text())["wireguard"]["vpn0"]["peers"]


def test_a_tunnel_that_isnt_there_and_a_name_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "r1.json"
    path.write_text(json.dumps(example("router")))
    missing = written(path, "bob")
    assert missing.exit_code == 1 and "no WireGuard tunnel vpn0" in missing.output
    path.write_text(json.dumps(example("wireguard")))
    before = path.read_bytes()
    refused = written(path, "bob\nx")
    assert refused.exit_code == 1 and path.read_bytes() == before


def test_a_new_key_is_one() -> None:
    made = CliRunner().invoke(main, ["vpn", "key"])
    value = example("wireguard")
    value["wireguard"]["vpn0"]["private_key"] = made.output.strip()
    read(value)
