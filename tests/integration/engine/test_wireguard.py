"""The engine and a tunnel's daemon: only what differs is changed, and what somebody else did is undone."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from appliance.agent.endpoints import Endpoints
from appliance.agent.vpn.wireguard import state
from appliance.curve25519 import clamped, public_key
from appliance.engine import wireguard, wireguard_go
from appliance.engine.host import Host
from appliance.resources import WireGuard, WireGuardPeer
from tests.wireguard_peer import daemon, new_key

LINK = f"vpn{os.getpid() % 10**6}"
ALICE, BOB = public_key(new_key()), public_key(new_key())


@pytest.fixture
def tunnel(host: Host) -> Iterator[WireGuard]:
    """A daemon that nobody has told anything, and what it is to be told."""
    host.__dict__["kernel_wireguard"] = False
    with daemon(LINK):
        yield WireGuard(
            link=LINK,
            private_key=new_key(),
            listen_port=51900,
            mtu=1380,
            peers=(
                WireGuardPeer(
                    name="alice",
                    public_key=ALICE,
                    preshared_key=new_key(),
                    allowed_ips=frozenset({"10.99.0.2/32", "fd00:99::2/128"}),
                    endpoint="[2001:db8::7]:5000",
                    persistent_keepalive=25,
                ),
                WireGuardPeer(name="bob", public_key=BOB, allowed_ips=frozenset({"10.50.0.0/16"})),
            ),
        )


def steps(host: Host, *wanted: WireGuard) -> list[str]:
    """What is changed; afterwards there is nothing to change."""
    changes = list(wireguard.plan(wanted, host))
    for change in changes:
        change.run()
    assert list(wireguard.plan(wanted, host)) == []
    return [f"{change.action} {change.detail}" for change in changes]


def peer(key: str) -> Any:
    device = wireguard_go.observe(LINK)
    assert device is not None
    return device.peers[key]


def changed(tunnel: WireGuard, name: str, **fields: Any) -> WireGuard:
    peers = tuple(replace(each, **fields) if each.name == name else each for each in tunnel.peers)
    return replace(tunnel, peers=peers)


def test_from_nothing(host: Host, tunnel: WireGuard) -> None:
    assert steps(host, tunnel) == [
        "update mtu 1380, up, mark as ours, its key, " "port 51900, and 3 more",
    ]  # fmt: skip
    device = wireguard_go.observe(LINK)
    assert device is not None
    assert (device.private_key, device.listen_port) == (clamped(tunnel.private_key), 51900)
    seen = device.peers[ALICE]
    wanted = tunnel.peers[0]
    assert (seen.preshared_key, seen.allowed_ips) == (wanted.preshared_key, wanted.allowed_ips)
    assert (seen.endpoint, seen.persistent_keepalive) == ("[2001:db8::7]:5000", 25)
    assert device.peers[BOB].preshared_key == device.peers[BOB].endpoint == ""
    link = host.links()[host.link_index(LINK)]
    assert (link["mtu"], link["up"]) == (1380, True)


def test_only_what_differs_is_changed(host: Host, tunnel: WireGuard) -> None:
    steps(host, tunnel)
    before = peer(ALICE)
    assert steps(host, changed(tunnel, "bob", persistent_keepalive=9)) == [
        "update bob: persistent_keepalive"
    ]
    assert (peer(ALICE), peer(BOB).persistent_keepalive) == (before, 9)
    assert steps(host, changed(tunnel, "bob", allowed_ips=frozenset({"10.51.0.0/16"}))) == [
        "update bob: allowed_ips, persistent_keepalive"
    ]
    assert peer(BOB).allowed_ips == {"10.51.0.0/16"}
    assert steps(host, changed(tunnel, "alice", preshared_key="")) == [
        "update alice: preshared_key, bob: allowed_ips"
    ]
    assert peer(ALICE).preshared_key == ""
    assert steps(host, replace(tunnel, peers=tunnel.peers[:1])) == ["update bob goes, alice: preshared_key, "
                                                                    "what its peers are called"]  # fmt: skip
    assert steps(host, replace(tunnel, listen_port=51901, peers=tunnel.peers[:1])) == ["update port 51901"]


def test_an_endpoint_is_set_when_it_is_said_and_else_the_peers_own(host: Host, tunnel: WireGuard) -> None:
    steps(host, tunnel)
    wireguard_go._ask(
        LINK, f"set=1\npublic_key={wireguard_go._hexadecimal(ALICE)}\nendpoint=192.0.2.9:9\n\n"
    )
    assert steps(host, tunnel) == []
    assert peer(ALICE).endpoint == "192.0.2.9:9"
    moved = changed(tunnel, "alice", endpoint="192.0.2.10:9")
    assert steps(host, moved) == ["update alice: endpoint, what its peers are called"]
    assert peer(ALICE).endpoint == "192.0.2.10:9"


def test_what_others_did_is_undone(host: Host, tunnel: WireGuard) -> None:
    steps(host, tunnel)
    stranger = public_key(new_key())
    wireguard_go._ask(
        LINK,
        f"set=1\npublic_key={wireguard_go._hexadecimal(stranger)}\nallowed_ip=10.50.0.0/16\n"
        f"public_key={wireguard_go._hexadecimal(ALICE)}\nremove=true\n\n",
    )
    assert steps(host, tunnel) == [f"update peer {stranger[:8]}... goes, alice comes, bob: allowed_ips"]
    assert peer(ALICE).endpoint == "[2001:db8::7]:5000"


def test_a_daemon_that_is_gone_is_waited_for(host: Host, tunnel: WireGuard) -> None:
    absent = replace(tunnel, link="vpn999999")
    (change,) = wireguard.plan([absent], host)
    change.run()
    assert (change.action, change.detail) == ("create", "with 2 peers")
    assert [unit.name for unit in wireguard.units([absent], host)] == ["sysvm-wireguard@vpn999999.service"]


def test_what_it_refuses_is_said(host: Host, tunnel: WireGuard) -> None:
    with pytest.raises(OSError, match="daemon of"):
        wireguard_go._ask(LINK, "set=1\nlisten_port=70000\n\n")


def test_state_and_counters(host: Host, tunnel: WireGuard) -> None:
    steps(host, tunnel)
    told = state(host)[LINK]
    assert told["public_key"] == public_key(tunnel.private_key)
    assert (told["in_kernel"], told["listen_port"]) == (False, 51900)
    alice = told["peers"]["alice"]
    assert (alice["connected"], alice["latest_handshake"]) == (False, None)
    assert alice["allowed_ips"] == ["10.99.0.2/32", "fd00:99::2/128"]
    assert tunnel.private_key not in str(told) and tunnel.peers[0].preshared_key not in str(told)
    index = host.link_index(LINK)
    counted = wireguard.read(host, {})
    assert counted.keys() == {f"vpn-{LINK}/alice {index} {ALICE}", f"vpn-{LINK}/bob {index} {BOB}"}
    # One that doesn't answer has counted nothing since.
    (host.state / f"wireguard-{LINK}.json").rename(host.state / "wireguard-vpn999999.json")
    kept = {"vpn-vpn999999/alice 7 x": {"sent": {"bytes": 7}}}
    assert wireguard.read(host, kept) == kept


@contextmanager
def name_server(names: dict[str, str]) -> Iterator[str]:
    """Answers with these addresses, until it is closed; ADDRESS#PORT of it."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                content, asking = listening.recvfrom(512)
            except OSError:
                return
            query = dns.message.from_wire(content)
            question = query.question[0]
            answer = dns.message.make_response(query)
            address = names.get(question.name.to_text())
            if address and (question.rdtype == dns.rdatatype.AAAA) == (":" in address):
                answer.answer.append(dns.rrset.from_text(question.name, 1, "IN", question.rdtype, address))
            listening.sendto(answer.to_wire(), asking)

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1#{listening.getsockname()[1]}"
    listening.close()


def test_names_are_looked_up_and_again_where_nothing_is_heard(
    host: Host, tunnel: WireGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.ip.link("set", index=1, state="up")
    names = {"vpn.example.com.": "192.0.2.7"}
    with name_server(names) as resolver:
        named = replace(changed(tunnel, "bob", endpoint="vpn.example.com:5000"), resolvers=(resolver,))
        steps(host, named)
        assert peer(BOB).endpoint == ""
        endpoints = Endpoints(host, again_seconds=0.0)
        endpoints.look()
        assert peer(BOB).endpoint == "192.0.2.7:5000"
        # It is somewhere else now, and was not heard of for long: never, that is.
        names["vpn.example.com."] = "2001:db8::8"
        endpoints.look()
        assert peer(BOB).endpoint == "[2001:db8::8]:5000"
        # The document says another name: at once.
        patient = Endpoints(host, silent_seconds=10**10, again_seconds=10**6)
        patient.look()
        names["other.example.com."] = "192.0.2.9"
        steps(host, changed(named, "bob", endpoint="other.example.com:5001"))
        patient.look()
        assert peer(BOB).endpoint == "192.0.2.9:5001"
        # Whoever is heard of stays where he is, whatever the DNS says.
        names["other.example.com."] = "192.0.2.10"
        patient.look()
        assert peer(BOB).endpoint == "192.0.2.9:5001"
        names.clear()
        endpoints.look()
        assert peer(BOB).endpoint == "192.0.2.9:5001"
