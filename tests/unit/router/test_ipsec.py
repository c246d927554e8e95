"""IPsec tunnels as connections, secrets, links and routes."""

from typing import Any

from appliance.model import merge_patch
from appliance.rendering import pieces
from appliance.resources import Connection, PrivateKey, Resource, SharedSecret, TunnelLink, Unit
from appliance.route import Route
from router import ipsec
from router.listening import Listener
from tests.examples import document, example, read


def resources(patch: dict[str, Any] | None = None) -> list[Resource]:
    return list(ipsec.resources(read(merge_patch(example("everything"), patch or {}))))


def connection(name: str, patch: dict[str, Any] | None = None) -> Any:
    (found,) = [item for item in resources(patch) if isinstance(item, Connection) and item.name == name]
    return found


def settings(name: str, **fields: Any) -> Any:
    return connection(name, {"ipsec": {name: fields}}).settings


def test_without_tunnels_there_is_nothing() -> None:
    assert list(ipsec.resources(document("minimal"))) == []


def test_links_and_routes() -> None:
    links = [item for item in resources() if isinstance(item, TunnelLink)]
    assert [(link.name, link.number) for link in links] == [("ipsec0", 65535), ("vpn7", 8)]
    routes = {item.destination: item.link for item in resources() if isinstance(item, Route)}
    assert routes["192.168.5.0/24"] == routes["fd00:5::/48"] == "ipsec0"
    assert routes["192.168.6.0/24"] == "vpn7"
    assert Unit(name="sysvm-charon.service") in resources()


def test_a_secret_is_found_by_the_peers_identities_alone() -> None:
    owners = {item.name: item.owners for item in resources() if isinstance(item, SharedSecret)}
    assert owners == {"office": ("office.example.org", "198.51.100.20"), "old": ("198.51.100.21",)}


def test_who_begins() -> None:
    assert connection("office").initiate
    assert settings("office")["children"]["net"]["start_action"] == "start"
    for passive in (connection("branch"), connection("office", {"ipsec": {"office": {"passive": True}}})):
        assert not passive.initiate
        (child,) = passive.settings["children"].values()
        assert (child["start_action"], child["close_action"], child["dpd_action"]) == (
            "none",
            "none",
            "clear",
        )
    # Nobody knows where to begin.
    assert not connection("office", {"ipsec": {"office": {"remote_address": None}}}).initiate
    assert settings("office", remote_address=None)["remote_addrs"] == ["%any"]


def test_children() -> None:
    assert settings("office")["children"]["net"]["remote_ts"] == ["192.168.5.0/24", "fd00:5::/48"]
    split = settings("office", split_subnets=True)["children"]
    assert [(child["local_ts"], child["remote_ts"]) for child in split.values()] == [
        (["10.1.1.0/24"], ["192.168.5.0/24"]),
        (["fd00:1::/64"], ["fd00:5::/48"]),
    ]
    assert len(settings("old")["children"]) == 2, "IKEv1 negotiates one pair at a time"
    assert settings("branch")["children"]["net0"]["remote_ts"] == ["0.0.0.0/0"]


def test_proposals() -> None:
    assert settings("office")["proposals"] == ["aes256gcm16-prfsha384-ecp384"]
    assert settings("office")["children"]["net"]["esp_proposals"] == ["aes256gcm16-ecp384", "aes128-sha256"]
    assert settings("old")["proposals"] == ["3des-sha1-modp1024"]
    assert settings("branch")["proposals"] == ["aes256gcm16-prfsha256-ecp256", "aes256-sha256-modp2048"]
    assert settings("old", ike=None)["proposals"] == ["aes256-sha256-modp2048"]


def test_credentials() -> None:
    office, branch = settings("office"), settings("branch")
    assert (office["local-1"]["auth"], office["remote-1"]["auth"]) == ("psk", "psk")
    assert (branch["local-1"]["auth"], branch["remote-1"]["auth"]) == ("pubkey", "pubkey")
    assert branch["remote-1"]["cacerts"] == [
        example("everything")["ipsec"]["branch"]["certificate"]["peer_authority"]
    ]
    assert [item.name for item in resources() if isinstance(item, PrivateKey)] == ["branch"]


def test_no_secret_is_told() -> None:
    told = "".join(pieces(resources())) + repr(resources())
    assert "only an example" not in told
    assert "PRIVATE KEY" not in told


def test_what_peers_speak_to_is_open() -> None:
    found = set(ipsec.listeners(document("everything")))
    for address in ("203.0.113.5", "203.0.113.6", "203.0.113.7"):
        assert Listener(address=address, protocol=17, ports=(500, 500), open=True) in found
        assert Listener(address=address, protocol=17, ports=(4500, 4500), open=True) in found
        assert Listener(address=address, protocol=50, open=True) in found
    assert len(found) == 9
    assert not list(ipsec.listeners(document("minimal")))
