"""Remote users by IKEv2 with EAP-MSCHAPv2, as telephones and laptops have it, played by a strongSwan."""

from typing import Any

from ipsec_lab import up
from router_document import document
from router_lab import GATEWAY, PUBLIC, WEB, Lab, until

from tests.ipsec_peer import Peer, Pki

Peers = dict[str, Peer]
AUTHORITY = Pki("users' authority")
CERTIFICATE, KEY = AUTHORITY.issue("vpn.example")
PASSWORDS = {"alice": "correct horse 'battery\" staple", "bob@example.org": "tr0ub4dor & 3"}


def access(**fields: Any) -> dict[str, Any]:
    return {
        **document(),
        "remote_access": {
            "pool": ["10.200.0.0/24", "fd00:c8::/112"],
            "dns": ["10.1.1.1"],
            "ikev2": {
                "address": PUBLIC,
                "identity": "vpn.example",
                "certificate": CERTIFICATE,
                "private_key": KEY,
            },
            "users": {name: {"password": password} for name, password in PASSWORDS.items()},
            **fields,
        },
    }


def client(user: str, password: str = "", *, remote_ts: str = "0.0.0.0/0") -> str:
    quoted = (password or PASSWORDS[user]).replace("\\", "\\\\").replace('"', '\\"')
    return f"""
connections {{
  vpn {{
    version = 2
    remote_addrs = {PUBLIC}
    vips = 0.0.0.0,::
    proposals = aes256-sha256-modp2048
    local {{
      auth = eap-mschapv2
      eap_id = {user}
    }}
    remote {{
      auth = pubkey
      cacerts = ca.pem
      id = vpn.example
    }}
    children {{
      net {{
        remote_ts = {remote_ts}
        esp_proposals = aes256-sha256
      }}
    }}
  }}
}}
secrets {{
  eap-user {{
    id = {user}
    secret = "{quoted}"
  }}
}}
"""


def connect(peer: Peer, user: str, **fields: Any) -> None:
    peer.start(client(user, **fields), {"x509ca/ca.pem": AUTHORITY.certificate})
    peer.initiate("net")


def test_a_user_has_an_address_and_reaches_the_guests(lab: Lab, peers: Peers) -> None:
    lab.put(access())
    assert [item["state"] for item in lab.get("/v1/vpn")["ipsec"]] == ["down", "down"]
    connect(peers["laptop"], "alice")
    seen = up(lab, "alice")
    assert seen["kind"] == "ikev2"
    assert seen["remote"] == "203.0.113.40"
    (four, six) = sorted(seen["addresses"])
    assert four.startswith("10.200.0.") and six.startswith("fd00:c8::")
    assert lab["laptop"].ask("10.1.1.10", 80) == f"vm1:80 saw {four}"
    assert "CPRP(ADDR ADDR6 DNS)" in peers["laptop"].log()
    assert lab["laptop"].dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
    # Split tunnel: the internet is reached without the router.
    assert lab["laptop"].ask(WEB, 80) == "net:80 saw 203.0.113.40"
    assert until(lambda: up(lab, "alice")["received_bytes"] > 100)
    assert lab.drift() == []


def test_a_full_tunnel_leads_to_the_internet(lab: Lab, peers: Peers) -> None:
    lab.put(access(full_tunnel=True, source_nat=PUBLIC))
    connect(peers["laptop"], "alice")
    assert lab["laptop"].ask(WEB, 80) == f"net:80 saw {PUBLIC}"
    assert lab["laptop"].ask("10.1.1.10", 80) == f"vm1:80 saw {up(lab, 'alice')['addresses'][0]}"
    assert GATEWAY


def test_a_wrong_password_or_name_is_nobody(lab: Lab, peers: Peers) -> None:
    lab.put(access())
    for user, password in (("alice", "wrong"), ("mallory", PASSWORDS["alice"])):
        peers["laptop"].start(client(user, password), {"x509ca/ca.pem": AUTHORITY.certificate})
        said = peers["laptop"].initiate("net", check=False)
        assert "EAP" in said or "fail" in said
        assert not [item for item in lab.get("/v1/vpn")["ipsec"] if item["state"] == "up"]


def test_one_user_comes_and_goes_without_the_others(lab: Lab, peers: Peers) -> None:
    lab.put(access())
    connect(peers["laptop"], "alice")
    connect(peers["phone"], "bob@example.org")
    up(lab, "alice"), up(lab, "bob@example.org")
    before = peers["phone"].spis("vpn")
    report = lab.patch({"remote_access": {"users": {"carol": {"password": "another one"}}}})
    assert [change["name"] for change in report["changes"]] == ["EAP carol"]
    # Removed, and disconnected at once.
    report = lab.patch({"remote_access": {"users": {"alice": None}}})
    assert {change["kind"] for change in report["changes"]} == {"SharedSecret", "Session"}
    assert not [item for item in lab.get("/v1/vpn")["ipsec"] if item["name"] == "alice"]
    assert not lab["laptop"].ping("10.1.1.10")
    said = peers["laptop"].initiate("net", check=False)
    assert "fail" in said or "EAP" in said
    assert lab["phone"].ping("10.1.1.10")
    assert peers["phone"].spis("vpn") == before
    # A new certificate is for who comes next.
    certificate, key = AUTHORITY.issue("vpn.example")
    lab.patch({"remote_access": {"ikev2": {"certificate": certificate, "private_key": key}}})
    assert lab["phone"].ping("10.1.1.10")
    assert peers["phone"].spis("vpn") == before
    connect(peers["laptop"], "carol", password="another one")
    assert lab["laptop"].ping("10.1.1.10")
    assert lab.drift() == []
    # Without remote access there are no users.
    lab.patch({"remote_access": None})
    assert lab.get("/v1/vpn")["ipsec"] == []
    assert not lab["phone"].ping("10.1.1.10")


def used(lab: Lab, name: str, direction: str) -> int:
    """Bytes, as `/v1/usage` tells them."""
    found: int = lab.get("/v1/usage").get(name, {}).get(direction, {}).get("bytes", 0)
    return found


def test_usage_of_a_user_only_grows(lab: Lab, peers: Peers) -> None:
    lab.put(access())
    before = used(lab, "ikev2-alice", "sent")
    connect(peers["laptop"], "alice")
    up(lab, "alice")
    ping = ("ping", "-q", "-c", "20", "-i", "0.02", "-s", "1000", "10.1.1.10")
    lab["laptop"].run(*ping)
    first = until(lambda: (now := used(lab, "ikev2-alice", "sent")) > before + 15_000 and now)
    assert first < before + 60_000
    assert used(lab, "ikev2-alice", "received") > 15_000
    # Nothing is counted twice by another agent, or lost with the session.
    lab.kill_agent()
    assert first <= used(lab, "ikev2-alice", "sent") < first + 5_000
    peers["laptop"].stop()
    until(lambda: all(item["state"] == "down" for item in lab.get("/v1/vpn")["ipsec"]), seconds=60)
    assert first <= used(lab, "ikev2-alice", "sent") < first + 5_000
    connect(peers["laptop"], "alice")
    lab["laptop"].run(*ping)
    again = until(lambda: (now := used(lab, "ikev2-alice", "sent")) > first + 15_000 and now)
    lab.patch({"remote_access": None})
    assert again <= used(lab, "ikev2-alice", "sent") < again + 5_000
    metrics = lab.request("GET", "/metrics").text
    assert 'sysvm_traffic_bytes_total{kind="ikev2",of="alice",direction="sent"}' in metrics


def test_users_are_there_after_a_power_cut(lab: Lab, peers: Peers) -> None:
    lab.put(access())
    lab.power_cut()
    lab.ready()
    connect(peers["laptop"], "alice")
    assert lab["laptop"].ping("10.1.1.10")
    assert lab.drift() == []
