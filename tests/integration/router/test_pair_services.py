"""Access lists, load balancers and VPN on a pair: the backup has them, is silent, and goes on with them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from balanced import curl
from conftest import Tree
from flows import Flow
from pair_lab import PairLab, listening, macs
from pair_services import BALANCED, SITE, SOURCES, Services, services
from router_lab import FORWARDS, until

_IPV4 = 0x0800
_UNITS = ("sysvm-haproxy@0", "sysvm-charon", "sysvm-keepalived", "sysvm-conntrackd", "sysvm-pair")
_VRRP = 112
URL = f"http://{FORWARDS}:{BALANCED}/"


@pytest.fixture(scope="module")
def made(shared_pair: PairLab, tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    for name, router in shared_pair.routers.items():
        if not shared_pair.containers.status(name).running:
            router.start()
        router.ready()
    shared_pair.put()
    shared_pair.settled()
    directory: Path = tmp_path_factory.mktemp("pair-services")
    with services(shared_pair, tree("router"), directory) as found:
        yield found


@pytest.fixture
def vpc(made: Services) -> Services:
    """r1 is the primary; all tunnels are up."""
    pair = made.pair
    for name, router in pair.routers.items():
        if not pair.containers.status(name).running:
            router.start()
        router.ready()
    pair.make_primary("r1")
    until(lambda: made.alice.handshake() and made.office.handshake(), seconds=40, what="handshakes")
    until(lambda: made.session("r1", "site")["state"] == "up", seconds=40, what="the site is connected")
    for client in ("road", "site"):
        source = ("--interface", SITE) if client == "site" else ()
        until(
            lambda client=client, source=source: curl(
                pair[client], "http://10.1.1.10:8000/", *source, check=False
            ),
            seconds=40,
            what=f"{client} is connected",
        )
    return made


def stuck(vpc: Services) -> dict[str, str]:
    """Which server each client is led to."""
    net = vpc.pair["net"]
    return {source: str(curl(net, URL, "--interface", source)["server"]) for source in SOURCES}


def well(pair: PairLab, name: str) -> bool:
    failed = pair.failed_checks(name)
    assert failed.keys() <= {"redundancy foreign-vrrp"}, failed
    return True


def test_both_are_as_wanted_and_the_backup_is_silent(vpc: Services) -> None:
    pair = vpc.pair
    with listening(pair["net"], _IPV4) as frames, listening(pair["office"], _IPV4) as more:
        for name in pair.routers:
            until(lambda name=name: vpc.drift(name) == [], seconds=10, what=f"{name} is as wanted")
            for unit in _UNITS:
                assert pair.routers[name].unit(unit, "ActiveState") == "active", (name, unit)
            # Foreign adverts of another test are remembered for a minute.
            until(lambda name=name: well(pair, name), seconds=20, what=f"{name} is well")
        # It would have begun both tunnels by now, if it were to.
        time.sleep(6)
    backup = macs("r2")["public0"]
    said = [frame for _, frame in frames + more if frame[6:12].hex(":") == backup and frame[23] != _VRRP]
    assert said == []
    assert vpc.session("r1", "site")["state"] == "up" and vpc.session("r2", "site")["state"] == "down"
    peers = pair.routers["r2"].get("/v1/vpn")["wireguard"]["vpn0"]["peers"]
    assert not any(peer["latest_handshake"] for peer in peers.values())


def test_nobody_else_learns_who_is_stuck_to_what(vpc: Services) -> None:
    """HAProxy's peers speak on the sync link alone."""
    pair = vpc.pair
    for name, own in (("r1", "169.254.4.1"), ("r2", "169.254.4.2")):
        text = pair.run(name, "ss", "-Hltn", "sport", "=", ":10240")
        assert [line.split()[3] for line in text.splitlines()] == [f"{own}:10240"]
        assert pair["vm1"].ask(own, 10240, seconds=1) is None
        assert pair["net"].ask(own, 10240, seconds=1) is None
    for client, gateway in (("vm1", "10.1.1.1"), ("net", "203.0.113.2")):
        pair[client].run("ip", "route", "replace", "169.254.4.1/32", "via", gateway)
        try:
            assert pair[client].ask("169.254.4.1", 10240, seconds=1) is None
        finally:
            pair[client].run("ip", "route", "del", "169.254.4.1/32")


def test_the_primary_dies_and_all_of_it_goes_on(vpc: Services) -> None:
    pair = vpc.pair
    vpc.connect()
    until(lambda: vpc.session("r1", "alice")["state"] == "up", seconds=20)
    servers = stuck(vpc)
    assert set(servers.values()) == {"vm1", "vm2"}
    assert pair["vm1"].ask("10.1.2.10", 80, seconds=1) is None, "the list lets port 7 through"
    # What stuck is told at once, which server is well with the next word.
    time.sleep(2)
    with ExitStack() as stack:
        flows = {
            "through a list": stack.enter_context(
                Flow(pair["vm1"], "10.1.2.10", 7, udp=False, interval=0.05)
            ),
            "by WireGuard": stack.enter_context(
                Flow(pair["road"], "10.1.1.10", 80, udp=False, interval=0.05, own="10.99.0.2")
            ),
            "by IPsec": stack.enter_context(
                Flow(pair["site"], "10.1.1.10", 80, udp=False, interval=0.05, own=SITE)
            ),
        }
        time.sleep(2)
        assert all(flow.answered for flow in flows.values())
        killed = time.monotonic()
        pair.containers.kill("r1")
        for name, flow in flows.items():
            until(lambda flow=flow: flow.answered_after(killed), seconds=60, what=name)
            print(name, "after", round(flow.answered_after(killed) or 0, 2), "s")
        for flow in flows.values():
            flow.stop(grace=20)
    assert pair.state("r2") == "primary"
    assert {name: flow.error for name, flow in flows.items() if flow.error} == {}
    assert {name: flow.lost for name, flow in flows.items() if flow.lost} == {}
    # Nobody waited for silence to tell that a session's other end is gone.
    assert "Began sessions with 2 peers" in pair.run("r2", "journalctl", "-u", "sysvm-pair", "--no-pager")
    assert stuck(vpc) == servers
    # What was known to be down was asked for by nobody.
    states = pair.routers["r2"].get("/v1/load-balancers")
    assert "DOWN" in str(states)
    vpc.connect()
    until(lambda: vpc.session("r2", "alice")["state"] == "up", seconds=20)
    assert curl(pair["laptop"], "http://10.1.1.10:8000/")["server"] == "vm1"


def test_a_tier_goes_and_comes_without_a_flip(vpc: Services) -> None:
    pair = vpc.pair

    def without(name: str) -> dict[str, Any]:
        value = vpc.document(name)
        for section in ("interfaces", "tiers", "source_nat"):
            del value[section]["guest1"]
        del value["acls"]["back"]
        return value

    changes = pair.changes()
    with (
        Flow(pair["road"], "10.1.1.10", 80, udp=False, interval=0.05, own="10.99.0.2") as user,
        Flow(pair["site"], "10.1.1.10", 80, udp=False, interval=0.05, own=SITE) as site,
    ):
        for make in (without, vpc.document):
            pair.put(make)
            time.sleep(1)
        for flow in (user, site):
            flow.stop(grace=20)
    assert pair.changes() == changes
    assert [(flow.error, flow.lost) for flow in (user, site)] == [(None, 0)] * 2
    with Flow(pair["vm1"], "10.1.2.10", 7, udp=False, interval=0.05) as flow:
        until(lambda: flow.answered, what="the tier is there again")
    for name in pair.routers:
        until(lambda name=name: vpc.drift(name) == [], seconds=10)


def test_a_planned_switch_over_and_back(vpc: Services) -> None:
    """Whoever was the primary before has forgotten its sessions, or nobody would answer to them."""
    pair = vpc.pair
    servers = stuck(vpc)
    with ExitStack() as stack:
        flows = {
            "by WireGuard": stack.enter_context(
                Flow(pair["road"], "10.1.1.10", 80, udp=False, interval=0.05, own="10.99.0.2")
            ),
            "by IPsec": stack.enter_context(
                Flow(pair["site"], "10.1.1.10", 80, udp=False, interval=0.05, own=SITE)
            ),
        }
        for name in ("r2", "r1"):
            time.sleep(1)
            moved = time.monotonic()
            pair.make_primary(name)
            for what, flow in flows.items():
                until(lambda flow=flow, moved=moved: flow.answered_after(moved), seconds=60, what=what)
            until(lambda name=name: vpc.session(name, "site")["state"] == "up", seconds=20)
            other = "r1" if name == "r2" else "r2"
            until(lambda other=other: vpc.session(other, "site")["state"] == "down", seconds=10)
            assert stuck(vpc) == servers
            for router in pair.routers:
                until(lambda router=router: vpc.drift(router) == [], seconds=10)
        for flow in flows.values():
            flow.stop(grace=20)
    assert {name: flow.error for name, flow in flows.items() if flow.error} == {}


def test_a_tunnels_daemon_that_stays_dead_moves_it(vpc: Services) -> None:
    """WireGuard in user space: its daemon is one of the document's where the kernel has none."""
    pair, unit = vpc.pair, "sysvm-wireguard@vpn0"
    if pair.routers["r1"].unit(unit, "ActiveState") != "active":
        pytest.skip("this kernel has WireGuard of its own")
    changes = pair.changes()
    pair.run("r1", "systemctl", "kill", "--signal=KILL", unit)
    until(lambda: vpc.drift("r1") == [], seconds=30, what="it is back with all it had")
    assert pair.redundancy("r1")["faults"] == []
    assert pair.changes() == changes
    drop = f"/run/systemd/system/{unit}.service.d"
    pair.routers["r1"].sh(
        f"mkdir -p {drop}; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {drop}/broken.conf; "
        f"systemctl daemon-reload; systemctl kill --signal=KILL {unit}"
    )
    try:
        until(lambda: pair.state("r2") == "primary", seconds=30, what="the other one takes over")
        assert f"{unit}.service doesn't run" in pair.redundancy("r1")["faults"]
        assert "wireguard vpn0" in pair.failed_checks("r1")
        until(
            lambda: curl(pair["road"], "http://10.1.1.10:8000/", check=False),
            seconds=40,
            what="the user goes on with the other one",
        )
    finally:
        pair.routers["r1"].sh(f"rm -r {drop}; systemctl daemon-reload; systemctl restart {unit}")
    until(lambda: pair.redundancy("r1")["faults"] == [], seconds=30)
