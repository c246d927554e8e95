"""Remote users and other sites by WireGuard: who reaches whom, and who doesn't."""

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import dns.exception
import pytest
from router_lab import FORWARDS, PUBLIC, WEB, Client, Lab, until
from traffic import connected, silent, told
from wireguard_lab import ROUTER6, SITE, Users, connect, with_users

from router.wireguard_client import name_servers
from tests.examples import read
from tests.wireguard_peer import new_key


@pytest.fixture(scope="module")
def users(shared_lab: Lab) -> Users:
    return with_users(shared_lab)


@pytest.fixture
def vpn(lab: Lab, users: Users) -> Users:
    lab.put(users.document())
    return users


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def reached(client: Client, address: str) -> bool:
    """By IPv6: the router's own addresses are new, and of no use before it is known that nobody else has
    them (RFC 4862, section 5.4)."""
    return bool(until(lambda: client.ping(address, seconds=2), what=f"{address} is reached"))


def test_users_and_guests_reach_each_other_by_both_families(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    assert vpn.drift(vpn.document()) == []
    connect(ends, vpn, bob_by_ipv6=False)
    for user, own in (("road1", "10.99.0.2"), ("road2", "10.99.0.3")):
        lab.serve(user, 80)
        assert lab[user].ask("10.1.1.10", 80) == f"vm1:80 saw {own}"
        assert lab[user].ask("10.1.2.10", 80) == f"vm3:80 saw {own}"
        assert lab["vm1"].ask(own, 80) == f"{user}:80 saw 10.1.1.10"
        assert lab[user].ping("10.99.0.1")
        assert reached(lab[user], "fd00:1::10")
    assert reached(lab["vm1"], "fd00:99::2")
    # A full packet inside fits outside.
    lab["road1"].run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", "1372", "10.99.0.1")
    told = vpn.state()["peers"]["alice"]
    assert told["connected"] and told["endpoint"].startswith("203.0.113.11:")
    assert time.time() - told["latest_handshake"] < 60
    assert told["sent"] > 0 < told["received"]
    text = lab.request("GET", "/metrics").text
    assert 'sysvm_vpn_peer_connected{tunnel="vpn0",peer="alice"} 1' in text
    assert 'sysvm_vpn_peer_connected{tunnel="vpn0",peer="site"} 0' in text
    assert 'sysvm_traffic_bytes_total{kind="vpn",of="vpn0/alice",direction="sent"}' in text
    health = lab.get("/v1/health?fresh")
    assert {"name": "wireguard vpn0", "ok": True}.items() <= {
        key: value
        for check in health["checks"]
        if check["name"] == "wireguard vpn0"
        for key, value in check.items()
    }.items()


def test_a_tunnel_by_ipv6_outside(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    lab.put(vpn.document(listen={"addresses": [ROUTER6]}, mtu=1400))
    ends.enter_context(
        vpn.bob.up(tunnel_key=vpn.public, endpoint=f"[{ROUTER6}]:51820", keepalive=1, mtu=1400)
    )
    until(vpn.bob.handshake, what="a handshake by IPv6")
    assert lab["road2"].ask("10.1.1.10", 80) == "vm1:80 saw 10.99.0.3"
    assert reached(lab["road2"], "fd00:1::10")
    assert vpn.state()["peers"]["bob"]["endpoint"].startswith("[2001:db8::12]:")


def test_who_may_not_doesnt(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn, bob_by_ipv6=False)
    lab.serve("road2", 80)
    assert lab["road1"].ask("10.1.1.10", 80)
    # Not to one another, not out, not to the router's own services or its API.
    vpn.alice.run("ip", "route", "replace", f"{WEB}/32", "dev", vpn.alice.link)
    vpn.alice.run("wg", "set", vpn.alice.link, "peer", vpn.public, "allowed-ips", "0.0.0.0/0,::/0")
    assert lab["road1"].refused("10.99.0.3", 80)
    assert lab["road1"].refused(WEB, 80)
    for port in (22, 53, 80, 8080, 8443):
        assert lab["road1"].refused("10.99.0.1", port)
        if port != 53:
            assert lab["road1"].refused("10.1.1.1", port)
    # From another address than one's own: WireGuard drops it.
    vpn.alice.run("ip", "address", "add", "10.99.0.77/32", "dev", vpn.alice.link)
    assert lab["road1"].refused("10.1.1.10", 80, source="10.99.0.77")
    assert lab["road1"].ask("10.1.1.10", 80, source="10.99.0.2")
    # Who is to reach one network reaches no other, nor is reached from there.
    lab.patch(vpn.peers(bob={"reach": ["guest1"]}))
    assert lab["road2"].ask("10.1.2.10", 80)
    assert lab["road2"].refused("10.1.1.10", 80)
    assert lab["vm1"].refused("10.99.0.3", 80) and lab["vm3"].ask("10.99.0.3", 80)
    assert lab["road1"].ask("10.1.1.10", 80)
    # Users reach one another where the document says so.
    lab.patch(vpn.peers(alice={"reach": ["guest0", "vpn0"]}))
    assert lab["road1"].ask("10.99.0.3", 80) == "road2:80 saw 10.99.0.2"
    assert lab["road2"].refused("10.99.0.2", 80)


def test_names_of_guests_are_for_users_that_reach_them(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn, bob_by_ipv6=False)
    lab.patch(vpn.peers(bob={"reach": ["guest1"]}))
    alice, bob = lab["road1"], lab["road2"]
    assert alice.dig("vm2.a.example", server="10.1.1.1") == ["10.1.1.11"]
    assert alice.dig("r1.b.example", server="10.1.2.1") == ["10.1.2.1"]
    assert bob.dig("r1.b.example", server="10.1.2.1") == ["10.1.2.1"]
    # Not of networks that he doesn't reach, nor those that his own network's server keeps from it.
    with pytest.raises(dns.exception.Timeout):
        bob.dig("vm2.a.example", server="10.1.1.1", seconds=1)
    # It asks upstream, where nobody may answer.
    with contextlib.suppress(dns.exception.Timeout):
        assert bob.dig("vm2.a.example", server="10.1.2.1", seconds=1) != ["10.1.1.11"]
    # The file that users get names these servers.
    told = read({**lab.pushed, "generation": 1})
    assert name_servers(told, told.wireguard["vpn0"]) == ["10.1.1.1", "10.1.2.1"]


def test_names_by_tcp_and_by_both_families(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn)
    lab.patch(vpn.peers(bob={"reach": ["guest1"]}))
    alice, bob = lab["road1"], lab["road2"]
    for tcp in (False, True):
        for server in ("10.1.1.1", "fd00:1::1"):
            answer = until(lambda: alice.dig("vm2.a.example", server=server, tcp=tcp))  # noqa: B023
            assert answer == ["10.1.1.11"]
        # wireguard-go sends some answers elsewhere where it has peers by both families (its issue 135).
        assert until(lambda: bob.dig("r1.b.example", server="10.1.2.1", tcp=tcp)) == ["10.1.2.1"]  # noqa: B023
    for server in ("10.1.1.1", "fd00:1::1"):
        assert bob.refused(server, 53) and bob.refused(server, 1053)
    # Guests ask dnsmasq itself; nobody outside asks the proxy.
    assert lab["vm1"].dig("vm2.a.example", server="10.1.1.1", tcp=True) == ["10.1.1.11"]
    assert lab["vm1"].refused("10.1.1.1", 1053) and lab["net"].refused(PUBLIC, 1053)
    assert vpn.drift(lab.pushed) == []
    # Asked again once nobody asked for long, which ends the proxy.
    lab.sh("systemctl stop 'names-proxy@*'")
    assert until(lambda: alice.dig("vm2.a.example", server="10.1.1.1", tcp=True)) == ["10.1.1.11"]
    lab.patch({"wireguard": None})
    assert "sysvm-names" not in lab.sh("systemctl list-units --no-legend --type=socket")


def test_a_flow_ends_with_what_its_user_may_reach(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    connect(ends, vpn, bob_by_ipv6=False)
    with (
        connected(lab["road1"], "10.1.1.10", 5006, lab["vm1"]) as first,
        connected(lab["road1"], "10.1.2.10", 5006, lab["vm3"]) as second,
        connected(lab["road2"], "10.1.1.10", 5007, lab["vm1"]) as bobs,
        connected(lab["vm1"], "10.99.0.2", 5008, lab["road1"]) as back,
    ):
        pairs = (first, second, bobs, back)
        assert all(told(*pair) for pair in pairs)
        lab.patch(vpn.peers(alice={"reach": ["guest1"]}))
        for one, other in (first, back):
            assert silent(one, other) and silent(other, one)
        assert told(*second) and told(*bobs)
        lab.patch(vpn.peers(alice=None))
        assert silent(*second)
        assert told(*bobs)
        assert vpn.drift(lab.pushed) == []


def test_nobody_outside_sends_from_a_users_address(lab: Lab, vpn: Users) -> None:
    """By UDP, for there an answer isn't needed."""
    lab.serve("vm1", 53_000, udp=True)
    listening = lab.serve("vm1", 53_000, udp=True)
    seen: list[bytes] = []
    with lab["vm1"].socket(socket.SOCK_DGRAM) as guest:
        guest.bind(("10.1.1.10", 53_001))
        guest.settimeout(0.5)
        for client, via in (("net", PUBLIC), ("vm2", "10.1.1.1")):
            place = lab[client]
            place.run("ip", "address", "add", "10.99.0.2/32", "dev", "lo")
            place.run("ip", "route", "replace", "10.1.1.10/32", "via", via)
            try:
                with place.socket(socket.SOCK_DGRAM) as spoofing:
                    spoofing.bind(("10.99.0.2", 0))
                    spoofing.sendto(b"x", ("10.1.1.10", 53_001))
                with contextlib.suppress(TimeoutError):
                    seen.append(guest.recv(10))
            finally:
                place.run("ip", "address", "del", "10.99.0.2/32", "dev", "lo")
                place.run("ip", "route", "del", "10.1.1.10/32")
    assert seen == [] and listening.received == 0


def test_a_wrong_shared_key_or_an_unknown_one_is_no_way_in(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    wrong = ends.enter_context(
        vpn.alice.up(tunnel_key=vpn.public, endpoint=f"{PUBLIC}:51820", preshared_key=new_key(), keepalive=1)
    )
    stranger = ends.enter_context(
        vpn.user("road2", 9).up(tunnel_key=vpn.public, endpoint=f"{PUBLIC}:51820", keepalive=1)
    )
    assert lab["road1"].refused("10.1.1.10", 80) and lab["road2"].refused("10.1.1.10", 80)
    time.sleep(2)
    assert wrong.handshake() == stranger.handshake() == 0
    assert vpn.state()["peers"]["alice"]["latest_handshake"] is None
    # The document is changed to what she has.
    wrong.run("wg", "set", wrong.link, "peer", vpn.public, "preshared-key", "/dev/stdin", stdin=vpn.shared)
    until(lambda: lab["road1"].ask("10.1.1.10", 80), what="the right key", seconds=20)


def test_a_full_tunnel_goes_out_by_a_public_address(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    lab.put(vpn.document(source_nat=[FORWARDS, ROUTER6]))
    connect(ends, vpn, bob_by_ipv6=False)
    vpn.alice.run("wg", "set", vpn.alice.link, "peer", vpn.public, "allowed-ips", "0.0.0.0/0,::/0")
    for network in (f"{WEB}/32", "2001:db8::1/128"):
        vpn.alice.run("ip", "route", "replace", network, "dev", vpn.alice.link)
    assert lab["road1"].ask(WEB, 80) == f"net:80 saw {FORWARDS}"
    assert reached(lab["road1"], "2001:db8::1")
    lab.put(vpn.document())
    assert lab["road1"].refused(WEB, 80)


def test_sites_reach_each_other(lab: Lab, vpn: Users, ends: ExitStack) -> None:
    wanted = vpn.document(listen={"addresses": [FORWARDS]})
    wanted["wireguard"]["vpn0"]["peers"]["site"] |= {
        "endpoint": "203.0.113.25:51999",
        "persistent_keepalive": 1,
    }
    lab.put(wanted)
    assert vpn.drift(wanted) == []
    # The other end doesn't know where we are: the router begins, from where it listens.
    ends.enter_context(vpn.site.up(tunnel_key=vpn.public))
    until(vpn.site.handshake, what="the router begins", seconds=20)
    assert vpn.site.shown("endpoints") == f"{FORWARDS}:51820"
    lab.serve("plant", 80)
    assert lab["vm1"].ask("10.50.0.7", 80) == "plant:80 saw 10.1.1.10"
    assert lab["plant"].ask("10.1.1.10", 80, source="10.50.0.7") == "vm1:80 saw 10.50.0.7"
    assert lab["plant"].refused("10.1.1.10", 80, source="203.0.113.25")
    # Its network moves to another tunnel, which the site takes part in instead.
    moved = vpn.document()
    peer = moved["wireguard"]["vpn0"]["peers"].pop("site")
    moved["wireguard"]["vpn1"] = {
        "private_key": new_key(), "listen": {"addresses": [PUBLIC], "port": 51821},
        "addresses": ["10.98.0.1/24"], "peers": {"site": peer},
    }  # fmt: skip
    lab.put(moved)
    assert vpn.drift(moved) == []
    assert SITE in lab.sh("ip route show dev vpn1") and SITE not in lab.sh("ip route show dev vpn0")
    lab.put(wanted)
    assert vpn.drift(wanted) == []
    assert SITE in lab.sh("ip route show dev vpn0")
    until(lambda: lab["vm1"].ask("10.50.0.7", 80), what="the site again", seconds=20)
