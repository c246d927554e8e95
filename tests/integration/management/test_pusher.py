"""The push loop against peers that answer, refuse, fail, hang and aren't there."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from management_peer import Peer, refusing

from appliance.management.inventory import Appliance, Inventory, Stored
from appliance.management.pusher import Pusher, is_converged

AddPeer = Callable[..., Peer]
StartPusher = Callable[..., Pusher]


def put(inventory: Inventory, pusher: Pusher, name: str, mark: int = 0) -> Stored:
    stored = inventory.put(name, {"role": "router", "name": name, "routes": {}, "mark": mark})
    pusher.wake(inventory.appliance(name))
    return stored


def until(truth: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def pushed(inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher) -> tuple[Peer, Pusher]:
    """A peer that has converged, polled every 0.3 s."""
    peer = add_peer("r1")
    pusher = start_pusher(poll_interval=0.3)
    stored = put(inventory, pusher, "r1")
    assert is_converged(pusher.wait("r1", digest=stored.digest, timeout=10))
    return peer, pusher


def test_new_document_is_pushed_at_once(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    peer = add_peer("r1")
    pusher = start_pusher(poll_interval=3600)
    until(lambda: bool(peer.gets))
    seconds = []
    for mark in range(5):
        started = time.monotonic()
        stored = put(inventory, pusher, "r1", mark)
        appliance = pusher.wait("r1", digest=stored.digest, timeout=10)
        seconds.append(time.monotonic() - started)
        assert is_converged(appliance)
        assert peer.document is not None
        assert peer.document["mark"] == mark
    assert min(seconds) < 0.3
    assert peer.generation == 5


def test_what_is_right_is_only_polled(pushed: tuple[Peer, Pusher]) -> None:
    peer, _ = pushed
    until(lambda: len(peer.gets) >= 3)
    assert len(peer.puts) == 1


@pytest.mark.parametrize(("generation", "state"), [(0, "empty"), (1, "drifted"), (1, "degraded")])
def test_rebuilt_or_drifted_appliance_is_pushed_again(
    pushed: tuple[Peer, Pusher], generation: int, state: str
) -> None:
    peer, _ = pushed
    peer.generation, peer.state = generation, state
    until(lambda: (peer.generation, peer.state) == (1, "converged"))
    assert len(peer.puts) == 2


def test_failures_back_off_and_a_new_document_does_not_wait(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    peer = add_peer("r1")
    peer.answers = [500]
    pusher = start_pusher()
    put(inventory, pusher, "r1")
    until(lambda: len(peer.puts) == 4, seconds=12)
    gaps = [later - earlier for earlier, later in pairwise(peer.puts)]
    assert all(low <= gap < 2 * low + 0.5 for gap, low in zip(gaps, (0.5, 1, 2), strict=True)), gaps
    until(lambda: inventory.appliance("r1").attempts == 4)
    appliance = inventory.appliance("r1")
    assert appliance.state == "failed"
    assert "The script says 500." in (appliance.last_error or "")
    peer.answers = []
    started = time.monotonic()
    stored = put(inventory, pusher, "r1", 1)
    assert is_converged(pusher.wait("r1", digest=stored.digest, timeout=10))
    assert time.monotonic() - started < 0.5
    assert inventory.appliance("r1").attempts == 0


def test_refusal_is_shown_and_not_hammered(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    peer = add_peer("r1")
    peer.answers = [refusing]
    pusher = start_pusher(poll_interval=0.2)
    stored = put(inventory, pusher, "r1")
    appliance = pusher.wait("r1", digest=stored.digest, timeout=10)
    assert appliance.state == "refused"
    assert [problem.pointer for problem in appliance.problems] == ["/dhcp/guest0"]
    polls = len(peer.gets)
    until(lambda: len(peer.gets) >= polls + 5)
    assert len(peer.puts) == 1
    assert inventory.appliance("r1").problems == appliance.problems
    peer.answers = []
    stored = put(inventory, pusher, "r1", 1)
    assert is_converged(pusher.wait("r1", digest=stored.digest, timeout=10))
    assert inventory.appliance("r1").problems == ()


def test_newer_generation_on_the_appliance_is_overtaken(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    peer = add_peer("r1")
    peer.generation, peer.state = 40, "converged"
    pusher = start_pusher()
    stored = put(inventory, pusher, "r1", 7)
    appliance = pusher.wait("r1", digest=stored.digest, timeout=10)
    assert is_converged(appliance)
    assert appliance.wanted == peer.generation == 41
    assert peer.document is not None
    assert peer.document["mark"] == 7


def test_restored_database_is_noticed_by_the_poll(inventory: Inventory, pushed: tuple[Peer, Pusher]) -> None:
    peer, _ = pushed
    peer.generation = 9
    until(lambda: peer.generation == 10 and is_converged(inventory.appliance("r1")))


def test_agent_that_always_conflicts_is_backed_off_from(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    peer = add_peer("r1")
    peer.answers = [409]
    pusher = start_pusher()
    put(inventory, pusher, "r1")
    time.sleep(3)
    assert 2 <= len(peer.puts) <= 5


def test_never_two_pushes_to_one_appliance(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    peer = add_peer("r1")
    peer.delay = 0.1
    pusher = start_pusher()
    for mark in range(20):
        stored = put(inventory, pusher, "r1", mark)
        time.sleep(0.03)
    assert is_converged(pusher.wait("r1", digest=stored.digest, timeout=10))
    assert peer.most_at_once == 1
    assert len(peer.puts) < 20
    assert peer.document is not None
    assert peer.document["mark"] == 19


def test_hanging_appliances_do_not_hold_up_the_others(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    slow = [add_peer(f"slow{number}") for number in range(6)]
    for peer in slow:
        peer.delay = 15
    quick = [add_peer(f"r{number}") for number in range(4)]
    # Fewer contacts at once than there are appliances that hang.
    pusher = start_pusher(contacts=3, patience=0.5)
    for peer in slow + quick:
        put(inventory, pusher, peer.name)
    until(lambda: all(is_converged(inventory.appliance(peer.name)) for peer in quick), seconds=6)
    assert not any(is_converged(inventory.appliance(peer.name)) for peer in slow)


def test_fifty_appliances_five_of_them_dead(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = [add_peer(f"r{number}", listening=number % 10 != 0) for number in range(50)]
    pusher = start_pusher()
    started = time.monotonic()
    for peer in peers:
        put(inventory, pusher, peer.name)

    def converged() -> list[Appliance]:
        return [appliance for appliance in inventory.appliances() if is_converged(appliance)]

    until(lambda: len(converged()) == 45)
    seconds = time.monotonic() - started
    with capsys.disabled():
        print(f" 45 of 50 converged in {seconds:.2f} s ", end="")
    assert seconds < 5
    states = inventory.states()
    until(lambda: inventory.states()["unreachable"] == 5)
    assert states["converged"] == 45


def test_stop_and_start_again_goes_on(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    peer = add_peer("r1")
    peer.answers = [500]
    first = start_pusher()
    stored = put(inventory, first, "r1")
    until(lambda: len(peer.puts) == 2)
    first.stop()
    peer.answers = []
    second = start_pusher()
    assert is_converged(second.wait("r1", digest=stored.digest, timeout=10))
