"""Pushes to an agent's controller, whose machine is a network namespace: what is taken, refused, undone."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.agent.controller import Controller, GenerationConflictError
from appliance.agent.seal import Sealer
from appliance.agent.store import Store
from appliance.boot import Boot
from appliance.engine.elements import element
from appliance.engine.host import Host
from appliance.engine.transaction import ConvergeError
from appliance.model import RefusedError, validated
from tests.namespace import entered

BOOT = {
    "role": "router", "name": "r1",
    "control": {"mac": "02:00:00:00:00:01", "address": "169.254.3.2/24"},
    "tls": {"ca": "", "certificate": "", "key": ""},
}  # fmt: skip


def value(generation: int, **sections: Any) -> dict[str, Any]:
    public0 = {"mac": "02:00:00:00:00:02", "addresses": ["203.0.113.5/24"]}
    own = {"role": "router", "name": "r1", "generation": generation, "interfaces": {"public0": public0}}
    return own | sections


def letting_in(port: int) -> dict[str, Any]:
    rule = {"verdict": "accept", "address": "203.0.113.5", "protocol": "tcp", "ports": port}
    return {"firewall": {"ingress": {"rules": {"a": rule}}}}


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with entered():
        controller = started(tmp_path)
        yield controller
        controller.confirm()


def started(directory: Path) -> Controller:
    host = Host(generated=directory / "run", persistent=directory / "lib")
    host.generated.mkdir(exist_ok=True)
    made = Controller(
        boot=validated(Boot, BOOT), host=host, store=Store(directory / "store"), sealer=Sealer(b"key")
    )
    made.start()
    return made


def ports(controller: Controller) -> list[str]:
    listing = controller.host.nft.listing("map inet sysvm ingress_accept_ports")
    keys = (element(listed)[0] for item in listing for listed in item["map"].get("elem", []))
    return [key.partition(" . ")[0] for key in keys]


def test_generations_only_grow(controller: Controller) -> None:
    assert controller.state == "empty"
    assert controller.put(value(5, **letting_in(80))).changes
    assert controller.put(value(5, **letting_in(80))).changes == [], "the same again is the same"
    for refused in (value(4, **letting_in(80)), value(5, **letting_in(81)), value(5)):
        with pytest.raises(GenerationConflictError):
            controller.put(refused)
        with pytest.raises(GenerationConflictError):
            controller.plan(refused)
    assert ports(controller) == ["80"]
    assert controller.put(value(6, **letting_in(81))).generation == 6
    assert ports(controller) == ["81"]


def test_patches(controller: Controller) -> None:
    with pytest.raises(GenerationConflictError):
        controller.patch(letting_in(80))
    controller.put(value(1))
    assert controller.patch(letting_in(80)).generation == 2
    assert controller.patch({**letting_in(81), "generation": 10}).generation == 10
    with pytest.raises(GenerationConflictError):
        controller.patch({**letting_in(82), "generation": 9})
    for refused in ([], None, {"bogus": 1}, {"role": None}, {"name": "r2"}):
        with pytest.raises(RefusedError):
            controller.patch(refused)
    assert (ports(controller), controller.running.generation) == (["81"], 10)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [({"name": "r2"}, "/name"), ({"role": "consoleproxy"}, "/role"), ({"bogus": 1}, "/bogus")],
)
def test_what_is_for_another_is_refused(controller: Controller, change: Any, pointer: str) -> None:
    with pytest.raises(RefusedError) as caught:
        controller.put(value(1) | change)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
    assert controller.running.generation == 0 and controller.store.load() is None


def test_a_restart_finds_what_was_acknowledged(controller: Controller, tmp_path: Path) -> None:
    controller.put(value(1))
    for port in (80, 81, 82):
        controller.patch(letting_in(port))
    again = started(tmp_path)
    assert again.running == controller.running
    assert (again.state, ports(again)) == ("converged", ["82"])
    assert again.heal() == 0


@pytest.mark.parametrize(
    "stored", [b"{", b"[]", b"null", b"\xff", b'{"id": "x"}', b'{"id": "x", "document": {"role": 1}}']
)
def test_a_store_that_cannot_be_read_leaves_the_firewall_up(
    controller: Controller, tmp_path: Path, stored: bytes
) -> None:
    controller.put(value(1, **letting_in(80)))
    (tmp_path / "store" / "document.json").write_bytes(stored)
    again = started(tmp_path)
    assert (again.state, ports(again)) == ("degraded", [])
    # As long as nothing is put in its place; a change that isn't confirmed isn't.
    again.heal()
    assert again.state == "degraded" and "can't be used" in again.detail
    again.put(value(1, **letting_in(81)), confirm=0.05)
    assert again.state == "unconfirmed"
    deadline = time.monotonic() + 10
    while again.state == "unconfirmed" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (again.state, ports(again)) == ("degraded", []) and "can't be used" in again.detail
    assert again.put(value(1, **letting_in(80))).state == "converged"


def test_what_fails_goes_back(controller: Controller, tmp_path: Path) -> None:
    controller.put(value(1, **letting_in(80)))
    controller.host.ip.link("add", ifname="card", kind="veth", address="02:00:00:00:00:02", peer="peer")
    controller.heal()
    # The kernel has no IPv6 on a link with so small an MTU (RFC 8200, section 5).
    card = {"mac": "02:00:00:00:00:02", "addresses": ["203.0.113.5/24", "2001:db8::5/64"], "mtu": 600}
    bad = {"interfaces": {"public0": card}, **letting_in(99)}
    with pytest.raises(ConvergeError, match="2001:db8::5/64"):
        controller.put(value(2) | bad)
    assert (controller.running.generation, controller.state, ports(controller)) == (1, "converged", ["80"])
    with pytest.raises(ConvergeError):
        controller.patch(bad)
    assert started(tmp_path).running.generation == 1


def test_an_unconfirmed_change_goes_back(controller: Controller, tmp_path: Path) -> None:
    controller.put(value(1, **letting_in(80)))
    assert controller.put(value(2, **letting_in(81)), confirm=0.2).state == "unconfirmed"
    assert ports(controller) == ["81"]
    assert started(tmp_path).running.generation == 1, "a restart doesn't find it"
    deadline = time.monotonic() + 10
    while controller.state != "converged" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (controller.running.generation, ports(controller)) == (1, ["80"])
    assert not controller.confirm()


def test_a_confirmed_change_stays(controller: Controller, tmp_path: Path) -> None:
    controller.put(value(1, **letting_in(80)))
    controller.patch(letting_in(81), confirm=30)
    assert controller.confirm() and controller.state == "converged"
    again = started(tmp_path)
    assert (again.running.generation, ports(again)) == (2, ["81"])
