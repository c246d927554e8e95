"""Remote users by IKEv2 with EAP-MSCHAPv2, as telephones and laptops have it, played by a strongSwan."""

from typing import Any

import dns.exception
import pytest
from ipsec_lab import up
from router_document import document
from router_lab import GATEWAY, PUBLIC, WEB, Lab, until
from traffic import connected, silent, told

from appliance.model import merge_patch
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
    assert "CPRP(ADDR ADDR6 DNS SUBNET SUBNET)" in peers["laptop"].log()
    assert lab["laptop"].dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
    # Split tunnel: the internet is reached without the router.
    assert lab["laptop"].ask(WEB, 80) == "net:80 saw 203.0.113.40"
    assert until(lambda: up(lab, "alice")["received_bytes"] > 100)
    usage = lab.get("/v1/usage")
    assert usage["ikev2-alice"]["sent"]["bytes"] > 100 and "ikev2-bob@example.org" not in usage
    assert lab.drift() == []


def test_networks_of_both_families_are_told(lab: Lab, peers: Peers) -> None:
    """Each with the address of its family; changed while users are there, and nobody is cut."""
    lab.put(access())
    connect(peers["laptop"], "alice")
    before = up(lab, "alice")
    wanted = access(subnets=["10.1.1.0/24", "fd00:1::/64"])
    wanted["interfaces"]["guest0"]["addresses"].append("fd00:1::1/64")
    lab.put(wanted)
    assert up(lab, "alice")["addresses"] == before["addresses"]
    assert lab.drift() == []
    connect(peers["phone"], "bob@example.org")
    up(lab, "bob@example.org")
    assert "CPRP(ADDR ADDR6 DNS SUBNET SUBNET6)" in peers["phone"].log()


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
    # Removed, and disconnected at once; her address's flows are nobody else's.
    assert lab["laptop"].ask("10.1.1.10", 80) and lab["phone"].ask("10.1.1.10", 80)
    hers, his = (
        next(address for address in up(lab, user)["addresses"] if "." in address)
        for user in ("alice", "bob@example.org")
    )
    assert lab.get(f"/v1/connections?guest={hers}")["connections"]
    report = lab.patch({"remote_access": {"users": {"alice": None}}})
    assert lab.get(f"/v1/connections?guest={hers}")["connections"] == []
    assert lab.get(f"/v1/connections?guest={his}")["connections"]
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


def reaching(**reach: list[str] | None) -> dict[str, Any]:
    """A patch of what users may reach."""
    names = {"bob": "bob@example.org"}
    return {
        "remote_access": {
            "users": {names.get(user, user): {"reach": links} for user, links in reach.items()}
        }
    }


def own(lab: Lab, user: str) -> str:
    """His IPv4 address."""
    return next(address for address in up(lab, user)["addresses"] if "." in address)


def test_each_user_reaches_what_is_his(lab: Lab, peers: Peers) -> None:
    lab.serve("vm3", 80)
    six = {"interfaces": {"guest0": {"addresses": ["10.1.1.1/24", "fd00:1::1/64"]}}}
    lab.put(merge_patch(access(), {**six, **reaching(bob=["guest1"])}))
    lab["vm1"].run("ip", "address", "replace", "fd00:1::10/64", "dev", "eth0", "nodad")
    lab["vm1"].run("ip", "-6", "route", "replace", "default", "via", "fd00:1::1")
    # strongSwan's IPsec in user space makes routes with it as their source.
    until(lambda: "tentative" not in lab.sh("ip -6 address show dev guest0"), what="the address is usable")
    # One has all guest networks, the other one of them.
    connect(peers["laptop"], "alice", remote_ts="10.1.0.0/16,fd00::/16")
    connect(peers["phone"], "bob@example.org", remote_ts="10.1.0.0/16,fd00::/16")
    hers, his = own(lab, "alice"), own(lab, "bob@example.org")
    assert until(lambda: lab["laptop"].ask("10.1.1.10", 80)) == f"vm1:80 saw {hers}"
    assert lab["laptop"].ask("10.1.2.10", 80) == f"vm3:80 saw {hers}"
    assert until(lambda: lab["laptop"].ping("fd00:1::10"))
    assert lab["phone"].ask("10.1.2.10", 80) == f"vm3:80 saw {his}"
    # Names, by both families and both ways.
    for server in ("10.1.1.1", "fd00:1::1"):
        for tcp in (False, True):
            answer = until(lambda: lab["laptop"].dig("vm2.a.example", server=server, tcp=tcp))  # noqa: B023
            assert answer == ["10.1.1.11"]
        assert lab["phone"].refused(server, 53) and lab["phone"].refused(server, 1053)
    assert lab["phone"].dig("r1.b.example", server="10.1.2.1", tcp=True) == ["10.1.2.1"]
    # Nor is he reached from elsewhere, or by the other family; the router's own names neither.
    assert lab["phone"].refused("10.1.1.10", 80)
    assert not lab["phone"].ping("fd00:1::10")
    assert lab["phone"].dig("r1.b.example", server="10.1.2.1") == ["10.1.2.1"]
    with pytest.raises(dns.exception.Timeout):
        lab["phone"].dig("vm2.a.example", server="10.1.1.1", seconds=1)
    lab.serve("phone", 80)
    assert lab["vm1"].refused(his, 80) and lab["vm3"].ask(his, 80)
    assert lab.drift() == []
    # Whoever comes again has it from the first packet on.
    connect(peers["phone"], "bob@example.org", remote_ts="10.1.0.0/16")
    assert lab["phone"].ask("10.1.2.10", 80)
    assert lab.drift() == []
    # Another table, with all who are connected in it.
    lab.patch({"firewall": {"egress": {"guest1": {"policy": "drop"}}}})
    assert lab["phone"].ask("10.1.2.10", 80) and lab["laptop"].ask("10.1.1.10", 80)
    assert lab["phone"].refused("10.1.1.10", 80)
    assert lab.drift() == []
    # Nothing at all, as its document says.
    lab.patch(reaching(bob=[]))
    assert lab["phone"].refused("10.1.2.10", 80) and lab["phone"].refused("10.1.1.10", 80)
    lab.patch(reaching(bob=None))
    assert lab["phone"].ask("10.1.1.10", 80)
    assert lab.drift() == []


def test_a_flow_ends_with_what_its_user_may_reach(lab: Lab, peers: Peers) -> None:
    lab.put(merge_patch(access(), reaching(alice=["guest0", "guest1"])))
    connect(peers["laptop"], "alice", remote_ts="10.1.0.0/16")
    connect(peers["phone"], "bob@example.org", remote_ts="10.1.0.0/16")
    hers = own(lab, "alice")
    up(lab, "bob@example.org")
    with (
        connected(lab["laptop"], "10.1.1.10", 5016, lab["vm1"]) as first,
        connected(lab["laptop"], "10.1.2.10", 5016, lab["vm3"]) as second,
        connected(lab["phone"], "10.1.1.10", 5017, lab["vm1"]) as bobs,
        connected(lab["vm1"], hers, 5018, lab["laptop"]) as back,
    ):
        pairs = (first, second, bobs, back)
        assert all(told(*pair) for pair in pairs)
        lab.patch(reaching(alice=["guest1"]))
        for one, other in (first, back):
            assert silent(one, other) and silent(other, one)
        assert told(*second) and told(*bobs)
        # From each his own to all the same, which is more for her and no less for him.
        lab.patch(reaching(alice=None))
        assert told(*second) and told(*bobs)
        assert lab.drift() == []


def test_an_address_is_its_new_users(lab: Lab, peers: Peers) -> None:
    """Also where the daemon that knew of the old one was killed, and has said no word."""
    lab.put(
        merge_patch(
            access(pool=["10.200.0.0/30", "fd00:c8::/112"]), reaching(alice=["guest0"], bob=["guest1"])
        )
    )
    lab.serve("vm3", 80)
    connect(peers["laptop"], "alice", remote_ts="10.1.0.0/16")
    hers = own(lab, "alice")
    assert lab["laptop"].ask("10.1.1.10", 80)
    assert lab.get(f"/v1/connections?guest={hers}")["connections"]
    peers["laptop"].stop()
    lab.sh("systemctl kill --signal=KILL sysvm-charon")
    until(lambda: lab.drift() == [], seconds=60, what="the daemon has all it had")
    connect(peers["phone"], "bob@example.org", remote_ts="10.1.0.0/16")
    assert own(lab, "bob@example.org") == hers
    assert lab.get(f"/v1/connections?guest={hers}")["connections"] == []
    assert lab["phone"].refused("10.1.1.10", 80)
    assert lab["phone"].ask("10.1.2.10", 80) == f"vm3:80 saw {hers}"
    assert lab.drift() == []


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
