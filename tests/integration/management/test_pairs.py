"""Redundant pairs: who is pushed first, and what is said when both are primary."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from management_peer import Peer

from appliance.management.client import Agent, AgentError
from appliance.management.inventory import Appliance, Inventory
from appliance.management.pusher import Pusher, is_converged
from appliance.management.usage import Usage

AddPeer = Callable[..., Peer]
Connect = Callable[[Appliance], Agent]
StartPusher = Callable[..., Pusher]
OTHER = {"r1": "r2", "r2": "r1"}


def store(inventory: Inventory, name: str, mark: int = 0) -> str:
    document = {"role": "router", "name": name, "mark": mark, "redundancy": {"peer": OTHER.get(name, "r1")}}
    return inventory.put(name, document).digest


def put(inventory: Inventory, pusher: Pusher, name: str, mark: int = 0) -> str:
    digest = store(inventory, name, mark)
    pusher.wake(inventory.appliance(name))
    return digest


def pair(add_peer: AddPeer) -> tuple[Peer, Peer]:
    primary, backup = add_peer("r1"), add_peer("r2")
    primary.redundancy, backup.redundancy = {"state": "primary"}, {"state": "backup"}
    return primary, backup


def test_the_backup_is_pushed_first_whichever_is_put_first(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    primary, backup = pair(add_peer)
    backup.delay = 0.3
    pusher = start_pusher(poll_interval=3600)
    for mark, order in enumerate((("r1", "r2"), ("r2", "r1"), ("r1", "r2"))):
        # However long storing the second takes: the first waits but a moment for it.
        digests = {name: store(inventory, name, mark) for name in order}
        for name in order:
            pusher.wake(inventory.appliance(name))
        for name, digest in digests.items():
            assert is_converged(pusher.wait(name, digest=digest, timeout=10))
        assert backup.puts[-1] + backup.delay <= primary.puts[-1]
    assert (len(primary.puts), len(backup.puts)) == (3, 3)


def test_a_primary_is_not_held_up_by_a_backup_that_fails(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    primary, backup = pair(add_peer)
    backup.answers = [500]
    pusher = start_pusher(poll_interval=3600)
    put(inventory, pusher, "r2")
    digest = put(inventory, pusher, "r1")
    assert is_converged(pusher.wait("r1", digest=digest, timeout=10))
    backup.stop()
    put(inventory, pusher, "r2", 1)
    digest = put(inventory, pusher, "r1", 1)
    assert is_converged(pusher.wait("r1", digest=digest, timeout=20))
    assert len(primary.puts) == 2


def test_a_document_of_the_primary_alone_goes_after_a_moment(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    primary, _ = pair(add_peer)
    pusher = start_pusher(poll_interval=3600)
    for name in ("r2", "r1"):
        digest = put(inventory, pusher, name)
        assert is_converged(pusher.wait(name, digest=digest, timeout=10))
    time.sleep(1.2)
    digest = put(inventory, pusher, "r1", 1)
    assert is_converged(pusher.wait("r1", digest=digest, timeout=10))
    assert len(primary.puts) == 2


def test_who_is_nobodys_peer_waits_for_nobody(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    pair(add_peer)
    third = add_peer("r3")
    third.redundancy = {"state": "primary"}
    pusher = start_pusher(poll_interval=3600)
    digest = put(inventory, pusher, "r3")
    assert is_converged(pusher.wait("r3", digest=digest, timeout=0.9))


def test_two_primaries_are_noticed(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher
) -> None:
    primary, backup = pair(add_peer)
    pusher = start_pusher(poll_interval=0.2)
    for name in ("r2", "r1"):
        digest = put(inventory, pusher, name)
        assert is_converged(pusher.wait(name, digest=digest, timeout=10))

    def said(*wanted: tuple[str, bool]) -> None:
        deadline = time.monotonic() + 10
        while (found := tuple(pusher.pairs.states().values())) != wanted:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    said(("primary", False), ("backup", False))
    backup.redundancy = {"state": "primary"}
    said(("primary", True), ("primary", True))
    text = pusher.metrics.text(states={}, appliances=[], pairs=pusher.pairs.states())
    assert 'sysvm_redundancy_split_brain{appliance="r1"} 1' in text
    primary.redundancy = {"state": "backup"}
    said(("backup", False), ("primary", False))


def test_traffic_is_told_of_both_and_only_grows(
    inventory: Inventory, add_peer: AddPeer, start_pusher: StartPusher, connect: Connect
) -> None:
    def counted(number: int) -> dict[str, Any]:
        return {"network-guest0": {"sent": {"bytes": number}}}

    primary, backup = pair(add_peer)
    pusher = start_pusher(poll_interval=3600)
    for name in ("r2", "r1"):
        digest = put(inventory, pusher, name)
        assert is_converged(pusher.wait(name, digest=digest, timeout=10))
    primary.told["/v1/usage"], backup.told["/v1/usage"] = counted(1000), counted(20)
    usage = Usage(inventory, connect)

    def total(name: str = "r1") -> Any:
        return usage.of_pair(pusher.pairs.members(inventory.appliance(name)))

    assert total() == total("r2") == counted(1020)
    primary.stop()
    backup.told["/v1/usage"] = counted(50)
    assert total() == counted(1050), "what the dead one had counted still counts"
    usage = Usage(inventory, connect)
    assert total("r2") == counted(1050), "also for another process of the management plane"
    # It is built anew, and counts from 0.
    primary.told["/v1/usage"] = counted(7)
    primary.start_again()
    assert total() == counted(1057)
    primary.told["/v1/usage"] = counted(9)
    assert total() == counted(1059)
    primary.stop()
    backup.stop()
    with pytest.raises(AgentError):
        total()
