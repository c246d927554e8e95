"""Tunnels to other sites, which run a strongSwan of their own."""

import contextlib
import socket
import threading
import time
from functools import partial
from typing import Any

import pytest
from ipsec_lab import BEHIND, NAT, PSK, session, swanctl, tunnel, up, with_tunnels
from router_document import document
from router_lab import PUBLIC, WEB, Lab, inside, until
from traffic import connected, silent, told

from tests.ipsec_peer import Peer, Pki

Peers = dict[str, Peer]
SITE, BRANCH = "192.168.5.1", "192.168.6.1"


def test_a_tunnel_with_a_preshared_key_carries_its_networks_and_nothing_else(lab: Lab, peers: Peers) -> None:
    site = peers["site"]
    site.start(swanctl("site"))
    lab.serve("site", 7000)
    lab.put(with_tunnels(office=tunnel("site")))
    seen = up(lab, "office")
    assert (seen["kind"], seen["peer"], seen["remote"]) == ("ipsec", "203.0.113.20", "203.0.113.20")
    assert seen["addresses"] == ["192.168.5.0/24"]
    # Both ways, with the guest's own address.
    assert lab["vm1"].ask(SITE, 7000) == "site:7000 saw 10.1.1.10"
    assert lab["site"].ask("10.1.1.10", 80, source=SITE) == "vm1:80 saw 192.168.5.1"
    assert lab["vm1"].ping(SITE)
    # Large packets fit, whatever the guests' own MTU is.
    lab["vm1"].run("ping", "-c1", "-W2", "-s", "1300", SITE)
    # The other guest network is no part of it; nor is the site's other address, or the router's own side.
    assert lab["vm3"].refused(SITE, 7000)
    assert lab["site"].refused("10.1.2.10", 80, source=SITE)
    # The router itself answers pings and names, and nothing more.
    assert "1 received" in lab["site"].run("ping", "-c1", "-W2", "-I", SITE, "10.1.1.1")
    assert lab["site"].refused("10.1.1.1", 8443, source=SITE)
    counted = until(lambda: (now := session(lab, "office"))["received_bytes"] > 500 and now)
    assert counted["sent_bytes"] > 500
    text = lab.request("GET", "/metrics").text
    assert 'sysvm_vpn_up{kind="ipsec",name="office"} 1' in text
    assert 'sysvm_traffic_bytes_total{kind="ipsec",of="office",direction="received"}' in text
    assert lab.drift() == []


def used(lab: Lab, name: str) -> int:
    found = lab.get("/v1/usage").get(name, {})
    return sum(values["bytes"] for values in found.values())


def _has_used(lab: Lab, least: int) -> bool:
    return used(lab, "ipsec-office") >= least


def test_traffic_is_counted_and_only_grows(lab: Lab, peers: Peers) -> None:
    """Over a tunnel that is made anew, an agent and a daemon that are, and a power cut."""
    peers["site"].start(swanctl("site"))
    before = used(lab, "ipsec-office")
    lab.put(with_tunnels(office=tunnel("site")))
    changed = {"ipsec": {"office": {"esp": {"lifetime_seconds": 1200}}}}
    for interruption in (
        lambda: None, lambda: lab.patch(changed), lab.kill_agent,
        lambda: lab.run("systemctl", "restart", "sysvm-charon"), lab.power_cut,
    ):  # fmt: skip
        interruption()
        lab.ready()
        assert used(lab, "ipsec-office") >= before
        up(lab, "office")
        until(lambda: lab["vm1"].ping(SITE), seconds=30)
        lab["vm1"].run("ping", "-n", "-c", "3", "-i", "0.2", "-s", "1000", SITE)
        least = before + 6_000
        until(partial(_has_used, lab, least), what="it is counted")
        before = used(lab, "ipsec-office")
        # What is carried, and not as much again.
        assert before < least + 60_000
    lab.patch({"ipsec": None})
    assert used(lab, "ipsec-office") >= before


def test_a_flow_ends_with_the_networks_of_its_tunnel(lab: Lab, peers: Peers) -> None:
    peers["site"].start(swanctl("site"))
    wanted = with_tunnels(office=tunnel("site"))
    lab.put(wanted)
    up(lab, "office")
    until(lambda: lab["vm1"].ping(SITE), seconds=20)
    with (
        connected(lab["vm1"], SITE, 7010, lab["site"]) as inside,
        connected(lab["vm1"], WEB, 7011, lab["net"]) as out,
    ):
        assert told(*inside) and told(*out)
        lab.patch({"ipsec": None})
        assert silent(*inside)
        assert told(*out)
    assert lab.drift() == []


def test_without_its_tunnel_nothing_goes_there_at_all(lab: Lab, peers: Peers) -> None:
    """Not to the internet either, which has somebody with such an address."""
    lab["net"].run("ip", "address", "replace", "192.168.5.9/32", "dev", "lo")
    lab.serve("net", 80)
    try:
        assert lab["vm1"].ask("192.168.5.9", 80) == f"net:80 saw {PUBLIC}"
        lab.put(with_tunnels(office=tunnel("site")))
        assert lab["vm1"].refused("192.168.5.9", 80)
        assert session(lab, "office")["state"] in ("connecting", "down")
        assert lab.drift() == []
        lab.put(document())
        assert lab["vm1"].ask("192.168.5.9", 80) == f"net:80 saw {PUBLIC}"
        assert lab.get("/v1/vpn")["ipsec"] == []
        assert lab.unit("sysvm-charon", "ActiveState") == "inactive"
    finally:
        lab["net"].run("ip", "address", "del", "192.168.5.9/32", "dev", "lo")


def test_certificates(lab: Lab, peers: Peers) -> None:
    ours, theirs = Pki("ours"), Pki("theirs")
    own, own_key = ours.issue("r1.example")
    other, other_key = theirs.issue("site.example")
    text = (
        swanctl("site", identity="site.example")
        .replace(
            "auth = psk\n      id = site.example", "auth = pubkey\n certs = site.pem\n id = site.example"
        )
        .replace(f"auth = psk\n      id = {PUBLIC}", "auth = pubkey\n cacerts = ca.pem\n id = r1.example")
    )
    files = {"x509/site.pem": other, "private/site.pem": other_key, "x509ca/ca.pem": ours.certificate}
    peers["site"].start(text, files)
    wanted = tunnel(
        "site", psk=None, local_id="r1.example", remote_id="site.example",
        certificate={"certificate": own, "private_key": own_key, "peer_authority": theirs.certificate},
    )  # fmt: skip
    lab.put(with_tunnels(office=wanted))
    assert up(lab, "office")["peer"] == "site.example"
    assert lab["vm1"].ping(SITE)
    assert lab.drift() == []
    # Another authority's peer is nobody.
    wanted["certificate"]["peer_authority"] = Pki("theirs").certificate
    lab.put(with_tunnels(office=wanted))
    time.sleep(2)
    assert session(lab, "office")["state"] != "up"
    assert not lab["vm1"].ping(SITE)


def test_ikev1_with_two_subnets(lab: Lab, peers: Peers) -> None:
    lab["site"].run("ip", "address", "replace", "192.168.50.1/32", "dev", "lo")
    peers["site"].start(swanctl("site", version=1, local_ts="192.168.5.0/24;192.168.50.0/24"))
    lab.put(with_tunnels(
        office=tunnel("site", version=1, remote_subnets=["192.168.5.0/24", "192.168.50.0/24"])
    ))  # fmt: skip
    until(lambda: len(up(lab, "office")["addresses"]) == 2, what="both networks")
    assert lab["vm1"].ping(SITE)
    assert lab["vm1"].ping("192.168.50.1")


def test_several_subnets_at_once_and_one_by_one(lab: Lab, peers: Peers) -> None:
    lab["site"].run("ip", "address", "replace", "192.168.50.1/32", "dev", "lo")
    both = {"remote_subnets": ["192.168.5.0/24", "192.168.50.0/24"]}
    peers["site"].start(swanctl("site", local_ts="192.168.5.0/24,192.168.50.0/24"))
    lab.put(with_tunnels(office=tunnel("site", **both)))
    assert len(up(lab, "office")["addresses"]) == 2
    assert len(peers["site"].spis("router")) == 2
    assert lab["vm1"].ping(SITE) and lab["vm1"].ping("192.168.50.1")
    # A peer that takes one pair of networks at a time.
    peers["site"].start(swanctl("site", local_ts="192.168.5.0/24;192.168.50.0/24"))
    lab.put(with_tunnels(office=tunnel("site", split_subnets=True, **both)))
    until(lambda: len(up(lab, "office")["addresses"]) == 2, what="both networks")
    assert len(peers["site"].spis("router")) == 4
    assert lab["vm1"].ping(SITE) and lab["vm1"].ping("192.168.50.1")


def test_a_peer_behind_nat_from_any_address_is_known_by_its_id(lab: Lab, peers: Peers) -> None:
    wanted = tunnel(
        "site", remote_address=None, remote_id="hidden.example", passive=True,
        remote_subnets=["192.168.9.0/24"],
    )  # fmt: skip
    lab.put(with_tunnels(anywhere=wanted))
    peers["hidden"].start(swanctl("hidden", identity="somebody.example"))
    peers["hidden"].initiate("net0", check=False)
    assert session(lab, "anywhere")["state"] == "down", "another ID is nobody"
    peers["hidden"].start(swanctl("hidden", identity="hidden.example", psk="another key, also long enough"))
    peers["hidden"].initiate("net0", check=False)
    assert session(lab, "anywhere")["state"] == "down"
    peers["hidden"].start(swanctl("hidden", identity="hidden.example"))
    peers["hidden"].initiate("net0")
    seen = up(lab, "anywhere")
    assert (seen["remote"], seen["peer"]) == (NAT, "hidden.example")
    assert lab["vm1"].ping(BEHIND)
    assert "1 received" in lab["hidden"].run("ping", "-c1", "-W2", "-I", BEHIND, "10.1.1.10")
    assert lab.drift() == []


@pytest.mark.parametrize(
    "theirs",
    [{"psk": "another key, also long enough"}, {"identity": "impostor.example"},
     {"proposals": "aes128-sha256-modp3072"}],
    ids=["key", "identity", "proposal"],
)  # fmt: skip
def test_who_doesnt_agree_gets_nothing(lab: Lab, peers: Peers, theirs: dict[str, Any]) -> None:
    peers["site"].start(swanctl("site", **theirs))
    lab.put(with_tunnels(office=tunnel("site")))
    peers["site"].initiate("net0", check=False)
    time.sleep(1)
    assert session(lab, "office")["state"] != "up"
    assert not lab["vm1"].ping(SITE)
    assert lab.drift() == []


def test_one_tunnels_key_is_no_good_for_another(lab: Lab, peers: Peers) -> None:
    lab.put(with_tunnels(
        office=tunnel("site", remote_id="office.example", passive=True, psk="the key of the office"),
        branch=tunnel("branch", remote_id="branch.example", passive=True, psk="the key of the branch")
    ))  # fmt: skip
    impostor = swanctl("branch", identity="office.example", psk="the key of the branch")
    peers["branch"].start(impostor)
    peers["branch"].initiate("net0", check=False)
    assert [item["state"] for item in lab.get("/v1/vpn")["ipsec"]] == ["down", "down"]
    peers["branch"].start(impostor.replace("office.example", "branch.example"))
    peers["branch"].initiate("net0")
    assert up(lab, "branch")


def test_a_peer_that_died_is_noticed_and_the_tunnel_comes_back(lab: Lab, peers: Peers) -> None:
    peers["site"].start(swanctl("site"))
    lab.put(with_tunnels(office=tunnel("site")))
    up(lab, "office")
    peers["site"].kill()
    peers["site"].run()
    until(lambda: lab["vm1"].ping(SITE), seconds=75, what="the tunnel is back")
    assert up(lab, "office")["established_seconds"] < 60


def test_the_routers_daemon_killed_and_a_power_cut(lab: Lab, peers: Peers) -> None:
    peers["site"].start(swanctl("site"))
    lab.put(with_tunnels(office=tunnel("site")))
    up(lab, "office")
    lab.run("systemctl", "kill", "--signal=KILL", "sysvm-charon")
    until(lambda: lab["vm1"].ping(SITE), seconds=30, what="the tunnel is back")
    lab.power_cut()
    lab.ready()
    up(lab, "office", seconds=40)
    assert lab["vm1"].ping(SITE)
    assert lab.settled()
    assert lab.drift() == []


class Transfer:
    """Bytes that run through a tunnel, until it is asked how many came."""

    def __init__(self, lab: Lab) -> None:
        with inside(lab["site"].full):
            listening = socket.create_server((SITE, 7100))
        self._sending = lab["vm1"].socket()
        self._sending.settimeout(10)
        self._sending.connect((SITE, 7100))
        self._receiving, _ = listening.accept()
        self._receiving.settimeout(10)
        listening.close()
        self.received = 0
        self._ended = False
        for work in (self._send, self._receive):
            threading.Thread(target=work, daemon=True).start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended:
                self._sending.sendall(b"x" * 1000)
                time.sleep(0.002)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended and (content := self._receiving.recv(65536)):
                self.received += len(content)

    def end(self) -> None:
        self._ended = True
        time.sleep(0.1)
        self._sending.close()
        self._receiving.close()


def test_a_change_of_one_tunnel_leaves_the_other_alone(lab: Lab, peers: Peers) -> None:
    peers["site"].start(swanctl("site"))
    peers["branch"].start(swanctl("branch"))
    lab.put(with_tunnels(office=tunnel("site"), branch=tunnel("branch")))
    up(lab, "office"), up(lab, "branch")
    before, changed = peers["site"].spis("router"), peers["branch"].spis("router")
    assert before and changed
    transfer = Transfer(lab)
    try:
        until(lambda: transfer.received > 100_000)
        report = lab.patch({"ipsec": {"branch": {"esp": {"lifetime_seconds": 1200}}}})
        assert {change["name"] for change in report["changes"]} <= {"branch", "branch 203.0.113.21"}
        up(lab, "branch")
        until(lambda: lab["vm1"].ping(BRANCH), seconds=20)
        assert peers["branch"].spis("router").isdisjoint(changed)
        lab.patch({"ipsec": {"branch": None}})
        assert not lab["vm1"].ping(BRANCH)
        until(lambda: not peers["branch"].spis("router"))
        so_far = transfer.received
        until(lambda: transfer.received > so_far + 100_000, what="the transfer goes on")
    finally:
        transfer.end()
    assert peers["site"].spis("router") == before
    assert lab.drift() == []


def test_no_secret_is_anywhere_it_neednt_be(lab: Lab, peers: Peers) -> None:
    own, key = Pki("ours").issue("r1.example")
    middle = key.splitlines()[1]
    certificate = {"certificate": own, "private_key": key, "peer_authority": Pki("theirs").certificate}
    wanted = with_tunnels(
        office=tunnel("site"),
        branch=tunnel(
            "branch", psk=None, certificate=certificate, remote_id="b.example", local_id="r1.example"
        ),
    )
    report = lab.put(wanted)
    plan = lab.request("POST", "/v1/plan", {**wanted, "generation": report["generation"] + 1}).text
    told = [str(report), plan, lab.request("GET", "/v1/config").text, lab.request("GET", "/v1/vpn").text,
            lab.request("GET", "/metrics").text, lab.run("journalctl", "--no-pager", "--boot"),
            lab.sh("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '")]  # fmt: skip
    for text in told:
        assert PSK not in text
        assert middle not in text
    for secret in (PSK, middle):
        places = lab.sh(f"grep -rlF -- '{secret}' /run /etc /tmp /var /root 2>/dev/null || true").split()
        for place in places:
            assert lab.run("stat", "-c", "%a %U", place).split() == ["600", "root"], place
