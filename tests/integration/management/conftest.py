from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from management_peer import Peer, closed_port

from appliance.boot import ControlInterface
from appliance.management.authority import Authority
from appliance.management.client import Agent
from appliance.management.inventory import Appliance, Inventory
from appliance.management.pusher import Pusher

CONTROL = ControlInterface(mac="02:00:00:00:00:01", address="127.0.0.1/8")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "state")


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    inventory = Inventory.open(f"sqlite:///{tmp_path}/inventory.sqlite")
    yield inventory
    inventory.close()


@pytest.fixture
def add_peer(authority: Authority, inventory: Inventory, tmp_path: Path) -> Iterator[Callable[..., Peer]]:
    """Makes an appliance in the inventory and a peer that plays it; `listening=False`: nobody does."""
    peers: list[Peer] = []

    def add(name: str, *, listening: bool = True) -> Peer:
        peer = Peer(name)
        if listening:
            peer.start(authority.boot(name, "router", CONTROL), tmp_path)
        else:
            peer.port = closed_port()
        peers.append(peer)
        inventory.create(name=name, role="router", control=CONTROL, port=peer.port)
        return peer

    yield add
    for peer in peers:
        peer.stop()


@pytest.fixture
def connect(authority: Authority) -> Callable[[Appliance], Agent]:
    context = authority.client_context()

    def connect(appliance: Appliance) -> Agent:
        return Agent(
            name=appliance.name, host=appliance.host, port=appliance.port, context=context, answer_timeout=20
        )

    return connect


@pytest.fixture
def start_pusher(
    inventory: Inventory, connect: Callable[[Appliance], Agent]
) -> Iterator[Callable[..., Pusher]]:
    pushers: list[Pusher] = []

    def start(**options: float) -> Pusher:
        pusher = Pusher(inventory, connect, **options)  # type: ignore[arg-type]
        pushers.append(pusher)
        pusher.start()
        return pusher

    yield start
    for pusher in pushers:
        pusher.stop(grace=0.5)
