"""Users by L2TP on a redundant pair: the backup has it all and says nothing; who was connected comes again,
to the same address, by the other one."""

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.runtime import namespace
from images.image import Image
from tests.vm.emulated import Emulated, together
from tests.vm.l2tp_clients import L2tpClients
from tests.vm.pair import PUBLIC, Pair, pair, until
from tests.vm.tap import open_tap
from tests.vm.test_l2tp import PASSWORDS, PING, PSK, REACHED

ALICE = "alice"
PLACE, ADDRESS = "c", "203.0.113.51"
BOTH = ("r1", "r2")


@pytest.fixture(scope="module")
def lab(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, L2tpClients]]:
    disk = image.directory / "sysvm-router.qcow2"
    with pair(disk, tmp_path_factory.mktemp("l2tp-pair"), name="lpr") as made:
        tap = open_tap(made.cloud.switch, "public0", "tap-clients")
        machine = Emulated(tmp_path_factory.mktemp("clients"), disk, name="clients")
        clients = L2tpClients(machine, (PLACE,), {PLACE: ADDRESS})
        try:
            together(lambda: made.start("r1"), lambda: made.start("r2"), lambda: clients.start(tap))
            yield made, clients
        finally:
            machine.cut_power()
            os.close(tap)


def access(value: dict[str, Any]) -> None:
    value["remote_access"] = {
        "l2tp": {"address": PUBLIC, "psk": PSK, "pool": "10.201.0.0/24"},
        "users": {name: {"password": password} for name, password in PASSWORDS.items()},
    }


def state(made: Pair, name: str) -> str:
    return str(made.sessions(name, "l2tp")[ALICE]["state"])


def come(made: Pair, clients: L2tpClients, router: str) -> None:
    """As a client does once it knows that its tunnel is gone."""
    until(lambda: clients.protect(PLACE, server=PUBLIC, psk=PSK))
    clients.dial(PLACE, server=PUBLIC, user=ALICE, password=PASSWORDS[ALICE], reached="10.1.1.0/24")
    until(lambda: state(made, router) == "up")
    until(lambda: clients.does(PLACE, f"{PING} {REACHED}"))


def spoken(made: Pair, router: str, seconds: int) -> list[str]:
    """What comes from a router's card to the public segment meanwhile, but for VRRP."""
    own = made.machines[router].name
    words = ["ip", "and", "ether", "src", f"02:00:00:0{own[1]}:00:02", "and", "not", "ip", "proto", "112"]
    done = subprocess.run(
        namespace.entering(
            made.namespace("net"),
            ["timeout", str(seconds), "tcpdump", "-n", "-p", "-i", "eth0", "--immediate-mode", *words],
        ),
        capture_output=True, text=True, timeout=seconds + 60,
    )  # fmt: skip
    # It ends its output with an empty line.
    return [line for line in done.stdout.splitlines() if line]


def test_users_come_again_by_the_other_one(lab: tuple[Pair, L2tpClients]) -> None:
    made, clients = lab
    made.put(access)
    made.make_primary("r1")
    until(lambda: all(made.drift(name) == () for name in BOTH))
    come(made, clients, "r1")
    assert state(made, "r2") == "down"
    # The other one is ready, once, and silent.
    for name in BOTH:
        assert made.sh(name, "pgrep -cx xl2tpd").strip() == "1"
    assert spoken(made, "r2", 10) == []
    made.machines["r1"].cut_power()
    until(lambda: made.state("r2") == "primary")
    come(made, clients, "r2")
    with made.machines["r2"].agent() as agent:
        usage = agent.usage()
    assert all(usage[f"l2tp-{ALICE}"][way]["bytes"] > 0 for way in ("sent", "received"))
    assert made.sh("r2", "pgrep -cx xl2tpd").strip() == "1" and made.drift("r2") == ()
    # The first one comes back as the backup, and takes over again when it is told to.
    made.machines["r1"].start_again()
    made.machines["r1"].wait_until_it_answers()
    until(lambda: (made.state("r1"), made.state("r2")) == ("backup", "primary"))
    assert (state(made, "r1"), state(made, "r2")) == ("down", "up")
    until(lambda: made.drift("r1") == ())
    made.make_primary("r1")
    # What is the other's to go on with ends, without a word to anybody.
    until(lambda: state(made, "r2") == "down")
    assert spoken(made, "r2", 5) == []
    come(made, clients, "r1")
    assert state(made, "r2") == "down"
    for name in BOTH:
        assert made.drift(name) == ()
        journal = made.sh(name, "journalctl --no-pager")
        assert not any(secret in journal for secret in (PSK, *PASSWORDS.values()))


def test_nothing_is_in_the_clear_when_ipsec_ends_before_ppp(lab: tuple[Pair, L2tpClients]) -> None:
    """After the first test: alice is connected, by the first one."""
    made, clients = lab
    own = clients.given(PLACE)[0]
    made.sh("r1", "ip xfrm policy flush; ip xfrm state flush")
    sniffed = namespace.entering(
        made.namespace("net"),
        ["timeout", "20", "tcpdump", "-n", "-p", "-i", "eth0", "--immediate-mode", "udp", "port", "1701"],
    )
    with subprocess.Popen(sniffed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        # The guest still sends to a user who is there as far as PPP knows.
        namespace.run(made.namespace("vm1"), ["ping", "-n", "-c", "5", "-W", "1", own])
        said = process.communicate(timeout=60)[0]
    assert said.strip() == ""
