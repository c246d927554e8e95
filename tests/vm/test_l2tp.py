"""Remote access by L2TP in IPsec, with the kernel's ESP, L2TP and PPP on both sides: two users behind one
NAT, who have one address and one port there."""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.runtime import namespace
from images.image import Image
from tests.vm.between import INTERNET, PUBLIC, Between, between, document, until
from tests.vm.emulated import Emulated, together
from tests.vm.l2tp_clients import NAT, L2tpClients
from tests.vm.tap import open_tap

PSK = "a key of the tests, long enough"
PASSWORDS = {"alice": "correct \"horse\" 'battery' \\ # staple", "bob@example.org": "tr0ub4dor & 3"}
PLACES = {"alice": "a", "bob@example.org": "b"}
OPEN, OPEN_ADDRESS = "c", "203.0.113.51"
"""A place behind no NAT."""
REACHED, NOT_REACHED = "10.1.1.10", "10.1.2.10"
PING = "ping -n -c 1 -W 3"


@pytest.fixture(scope="module")
def lab(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Between, L2tpClients]]:
    disk = image.directory / "sysvm-router.qcow2"
    with between(disk, tmp_path_factory.mktemp("l2tp"), name="bl2") as lab:
        tap = open_tap(lab.cloud.switch, "public0", "tap-clients")
        machine = Emulated(tmp_path_factory.mktemp("clients"), disk, name="clients")
        clients = L2tpClients(machine, (*PLACES.values(), OPEN), {OPEN: OPEN_ADDRESS})
        try:
            together(lab.start, lambda: clients.start(tap))
            yield lab, clients
        finally:
            machine.cut_power()
            os.close(tap)


def wanted(**fields: Any) -> dict[str, Any]:
    return {
        **document(),
        "remote_access": {
            "l2tp": {"address": PUBLIC, "psk": PSK, "pool": "10.201.0.0/24"},
            "subnets": ["10.1.1.0/24"],
            "dns": ["10.1.1.1"],
            "users": {name: {"password": password} for name, password in PASSWORDS.items()},
            **fields,
        },
    }


def sessions(lab: Between) -> dict[str, Any]:
    with lab.machine.agent() as agent:
        return {item["name"]: item for item in agent.vpn()["ipsec"] if item["kind"] == "l2tp"}


def states(lab: Between) -> list[str]:
    return [sessions(lab)[name]["state"] for name in PLACES]


def dial(clients: L2tpClients, user: str, password: str = "", *, reached: str = "10.1.1.0/24") -> None:
    clients.dial(
        PLACES[user],
        server=PUBLIC,
        user=user,
        password=password or PASSWORDS[user],
        reached=reached,
    )


def request() -> bytes:
    """For a tunnel: SCCRQ (RFC 2661, section 6.1)."""
    words = (
        (0, struct.pack("!H", 1)),  # message type
        (2, b"\1\0"),  # protocol version
        (3, struct.pack("!I", 3)),  # framing
        (7, b"stranger"),
        (9, struct.pack("!H", 7)),  # tunnel
        (10, struct.pack("!H", 4)),  # window
    )
    content = b"".join(
        struct.pack("!HHH", 0x8000 | len(value) + 6, 0, kind) + value for kind, value in words
    )
    return struct.pack("!HHHHHH", 0xC802, len(content) + 12, 0, 0, 0, 0) + content


def answered_in_the_clear(lab: Between) -> bool:
    asking = lab.socket("net", socket.SOCK_DGRAM)
    asking.settimeout(3)
    asking.connect((PUBLIC, 1701))
    for _ in range(2):
        try:
            asking.send(request())
            return bool(asking.recv(2048))
        except (TimeoutError, ConnectionRefusedError):
            continue
    return False


def test_users_behind_one_nat(lab: tuple[Between, L2tpClients]) -> None:
    router, clients = lab
    report = router.put(wanted())
    assert any(change["name"] == "sysvm-l2tp.service" for change in report.changes)
    assert router.changes(wanted()) == ()
    with router.machine.agent() as agent:
        assert agent.status().answer["capabilities"]["l2tp"]
    assert states(router) == ["down", "down"]
    for user, place in PLACES.items():
        assert clients.protect(place, server=PUBLIC, psk=PSK), user
    # Together, so that each speaks while the other does.
    for user in PLACES:
        dial(clients, user)
    until(lambda: states(router) == ["up", "up"])
    until(lambda: all(clients.given(place) for place in PLACES.values()))
    own = {}
    for user, place in PLACES.items():
        told = sessions(router)[user]
        own[user], dns = clients.given(place)
        assert dns == "10.1.1.1"
        assert told["addresses"] == [own[user]] and told["remote"] == NAT
    assert len(set(own.values())) == 2 and all(address.startswith("10.201.0.") for address in own.values())
    # One address and one port behind the NAT, and everybody's packets are his own.
    assert router.sh("ip xfrm state").count("espinudp") >= 4
    for size in (56, 1300):
        for place in PLACES.values():
            until(lambda place=place, size=size: clients.does(place, f"{PING} -s {size} {REACHED}"))  # type: ignore[misc]
    for address in own.values():
        pinged = namespace.run(router.namespace("vm1"), ["ping", "-n", "-c", "3", "-W", "5", address])
        assert pinged.returncode == 0, pinged.stdout
    until(
        lambda: all(item["received_bytes"] > 1300 < item["sent_bytes"] for item in sessions(router).values())
    )
    # Each user has his own; what they have in common is counted for nobody.
    usage = router.usage()
    for user in PLACES:
        assert all(usage[f"l2tp-{user}"][way]["bytes"] > 1300 for way in ("sent", "received")), usage
    assert not [name for name in usage if "@l2tp" in name]
    # New keys, and the same session.
    before = router.sh("cat /run/sysvm-l2tp/sessions/*")
    keys = "ip -n b xfrm state | grep -o 'spi 0x[0-9a-f]*' | sort"
    old = clients.sh(keys).splitlines()
    clients.swanctl("b", "--rekey --child l2tp")
    until(lambda: len(set(clients.sh(keys).splitlines()) - set(old)) == 2)
    for _ in range(3):
        until(lambda: clients.does("b", f"{PING} {REACHED}"))
    assert router.sh("cat /run/sysvm-l2tp/sessions/*") == before
    assert router.changes(wanted()) == ()


def test_what_users_may_not(lab: tuple[Between, L2tpClients]) -> None:
    """After the first test: both are connected."""
    router, clients = lab
    bob = sessions(router)["bob@example.org"]["addresses"][0]
    assert not answered_in_the_clear(router)
    for there in (NOT_REACHED, INTERNET):
        clients.inside("a", f"ip route replace {there} dev ppp0")
        assert not clients.does("a", f"{PING} {there}")
    # From his own address a packet comes far enough to be known as a connection; from another's it doesn't.
    clients.inside("a", f"ip address add {bob}/32 dev lo")
    clients.send("a", source=bob, to=REACHED, port=9001)
    clients.inside("a", f"ip address del {bob}/32 dev lo")
    clients.send("a", source="0.0.0.0", to=REACHED, port=9002)
    until(lambda: "dport=9002" in router.sh("conntrack -L -p udp 2> /dev/null"))
    assert "dport=9001" not in router.sh("conntrack -L -p udp 2> /dev/null")
    # What is all users' is not in anybody's eyes.
    processes = router.sh("ps axww")
    assert "pppd" in processes
    assert not any(secret in processes for secret in (PSK, *PASSWORDS.values()))
    assert router.sh("stat -c %a /run/sysvm/l2tp/chap-secrets").strip() == "600"
    with router.machine.agent() as agent:
        assert "tr0ub4dor" not in str(agent.config())
    assert "tr0ub4dor" not in router.sh("journalctl --no-pager")


def test_each_user_reaches_what_is_his(lab: tuple[Between, L2tpClients]) -> None:
    """After the first test: both are connected."""
    router, clients = lab

    def may(user: str) -> tuple[bool, bool]:
        place = PLACES[user]
        # Not while the link is on its way.
        clients.does(place, f"ip route replace {NOT_REACHED} dev ppp0")
        return clients.does(place, f"{PING} {REACHED}"), clients.does(place, f"{PING} {NOT_REACHED}")

    alice, bob = PLACES
    change = wanted()
    change["remote_access"]["users"][bob]["reach"] = ["guest1"]
    router.put(change)
    until(lambda: may(bob) == (False, True))
    assert may(alice) == (True, False)
    assert router.changes(change) == ()
    # He comes again, and it is so from the beginning.
    clients.hang_up(PLACES[bob])
    until(lambda: states(router) == ["up", "down"])
    until(lambda: not clients.does(PLACES[bob], "ip link show ppp0"))
    dial(clients, bob)
    until(lambda: clients.given(PLACES[bob]))
    until(lambda: may(bob) == (False, True))
    until(lambda: router.changes(change) == ())
    router.put(wanted())
    until(lambda: may(bob) == (True, False))
    assert may(alice) == (True, False)
    assert router.changes(wanted()) == ()


def test_users_go_at_once_and_alone(lab: tuple[Between, L2tpClients]) -> None:
    """After the first test: both are connected."""
    router, clients = lab
    bob = router.sh("grep -l bob@ /run/sysvm-l2tp/sessions/* | xargs cat")
    change = wanted()
    change["remote_access"]["users"]["carol"] = {"password": "another one"}
    report = router.put(change)
    assert [item["kind"] for item in report.changes] == ["File"]
    del change["remote_access"]["users"]["alice"]
    report = router.put(change)
    assert {item["kind"] for item in report.changes} == {"File", "L2tpSession"}
    assert set(sessions(router)) == {"bob@example.org", "carol"}
    assert not clients.does("a", f"{PING} {REACHED}")
    until(lambda: clients.does("b", f"{PING} {REACHED}"))
    assert router.sh("grep -l bob@ /run/sysvm-l2tp/sessions/* | xargs cat") == bob
    assert router.changes(change) == ()
    # Nobody by that name, or with that password, any more.
    for password in (PASSWORDS["alice"], "wrong"):
        dial(clients, "alice", password)
        until(lambda: clients.refused("a"))
        router.put(wanted())
        assert states(router) == ["down", "up"]
    clients.hang_up("a")
    # What nobody answers in the clear is answered in IPsec.
    assert clients.answered("a", request(), server=PUBLIC)
    assert not answered_in_the_clear(router)
    # A full tunnel leads to the internet, for who is there already, too.
    router.put(wanted(full_tunnel=True, source_nat=PUBLIC))
    clients.inside("b", f"ip route replace {INTERNET} dev ppp0")
    until(lambda: clients.does("b", f"{PING} {INTERNET}"))
    # And who has another key doesn't come as far as L2TP.
    assert not clients.protect("a", server=PUBLIC, psk="another key, just as long")
    sent = sessions(router)["bob@example.org"]["sent_bytes"]
    clients.hang_up("b")
    until(lambda: states(router) == ["down", "down"])
    assert sessions(router)["bob@example.org"]["sent_bytes"] >= sent > 0
    router.put(document())
    assert router.sh("pgrep -x 'xl2tpd|pppd' || true").strip() == ""
    assert router.sh("ip xfrm state; ip xfrm policy").strip() == ""


def test_users_come_again_after_a_power_cut(lab: tuple[Between, L2tpClients]) -> None:
    """One of them from behind no NAT."""
    router, clients = lab
    router.put(wanted())
    before = router.usage()
    router.machine.cut_power()
    router.machine.start_again()
    router.machine.wait_until_it_answers()
    until(lambda: router.changes(wanted()) == ())
    assert states(router) == ["down", "down"]
    after = router.usage()
    for user in PLACES:
        assert after[f"l2tp-{user}"] == before[f"l2tp-{user}"]
    for user, place in (("alice", OPEN), ("bob@example.org", PLACES["bob@example.org"])):
        assert clients.protect(place, server=PUBLIC, psk=PSK), user
        clients.dial(place, server=PUBLIC, user=user, password=PASSWORDS[user], reached="10.1.1.0/24")
    until(lambda: states(router) == ["up", "up"])
    told = sessions(router)
    assert told["alice"]["remote"] == OPEN_ADDRESS and told["bob@example.org"]["remote"] == NAT
    # ESP as it is, and in UDP.
    associations = router.sh("ip -oneline xfrm state").splitlines()
    open_ones = [
        line for line in associations if line.startswith("src") and OPEN_ADDRESS in line.split("proto")[0]
    ]
    assert len(open_ones) == 2 and not any("espinudp" in line for line in open_ones)
    assert sum("espinudp" in line for line in associations) == 2
    for place in (OPEN, PLACES["bob@example.org"]):
        until(lambda place=place: clients.does(place, f"{PING} -s 1300 {REACHED}"))  # type: ignore[misc]
    until(
        lambda: all(
            router.usage()[f"l2tp-{user}"]["sent"]["bytes"] > before[f"l2tp-{user}"]["sent"]["bytes"]
            for user in PLACES
        )
    )
    assert router.changes(wanted()) == ()
