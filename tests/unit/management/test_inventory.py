"""The inventory: numbering, history, and what a late report may still change."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from appliance.boot import ControlInterface
from appliance.management.inventory import (
    HISTORY,
    Contact,
    Inventory,
    NameTakenError,
    StaleError,
    UnknownApplianceError,
    UnknownGenerationError,
    digest,
)

CONTROL = ControlInterface(mac="02:00:00:00:00:01", address="169.254.3.2/24")


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    inventory = Inventory.open(f"sqlite:///{tmp_path}/inventory.sqlite")
    inventory.create(name="r1", role="router", control=CONTROL)
    return inventory


def test_database_is_wal_with_foreign_keys(inventory: Inventory, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "inventory.sqlite") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        inventory.put("r1", {"role": "router", "name": "r1"})
        inventory.delete("r1")
        assert database.execute("SELECT count(*) FROM documents").fetchone() == (0,)


def test_new_appliance_wants_nothing(inventory: Inventory) -> None:
    appliance = inventory.appliance("r1")
    assert (appliance.wanted, appliance.state, appliance.host) == (0, "pending", "169.254.3.2")
    assert inventory.document("r1") is None
    with pytest.raises(NameTakenError):
        inventory.create(name="r1", role="router", control=CONTROL)
    with pytest.raises(UnknownApplianceError):
        inventory.document("r2")
    with pytest.raises(UnknownApplianceError):
        inventory.delete("r2")


def test_generation_is_assigned_and_the_same_content_is_no_new_one(inventory: Inventory) -> None:
    first = inventory.put("r1", {"name": "r1"})
    again = inventory.put("r1", {"name": "r1"})
    other = inventory.put("r1", {"name": "r1", "routes": {}})
    assert [first.generation, again.generation, other.generation] == [1, 1, 2]
    assert [first.changed, again.changed, other.changed] == [True, False, True]
    revision = inventory.document("r1")
    assert revision is not None
    assert json.loads(revision.text) == {"name": "r1", "routes": {}, "generation": 2}
    earlier = inventory.document("r1", generation=1)
    assert earlier is not None
    assert earlier.digest == first.digest


def test_given_generation_must_be_newer(inventory: Inventory) -> None:
    assert inventory.put("r1", {"name": "r1", "generation": 7}).generation == 7
    assert inventory.put("r1", {"name": "r1", "generation": 7}).changed is False
    with pytest.raises(StaleError):
        inventory.put("r1", {"name": "r1", "routes": {}, "generation": 7})
    with pytest.raises(StaleError) as caught:
        inventory.put("r1", {"name": "r1", "routes": {}}, expected=6)
    assert caught.value.current == 7


def test_history_is_bounded(inventory: Inventory) -> None:
    for number in range(HISTORY + 5):
        inventory.put("r1", {"name": "r1", "number": number})
    assert inventory.generations("r1") == list(range(HISTORY + 5, 5, -1))
    with pytest.raises(UnknownGenerationError):
        inventory.document("r1", generation=5)


def test_numbering_from_many_threads_and_two_connections(inventory: Inventory, tmp_path: Path) -> None:
    other = Inventory.open(f"sqlite:///{tmp_path}/inventory.sqlite")
    seen: list[int] = []

    def put(source: Inventory, worker: int) -> None:
        for number in range(10):
            seen.append(source.put("r1", {"name": "r1", "number": [worker, number]}).generation)

    threads = [
        threading.Thread(target=put, args=(source, worker))
        for worker, source in enumerate((inventory, other) * 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 81))
    assert inventory.appliance("r1").wanted == 80


def test_late_report_does_not_hide_a_newer_document(inventory: Inventory) -> None:
    inventory.put("r1", {"name": "r1"})
    pushed = inventory.appliance("r1")
    inventory.put("r1", {"name": "r1", "routes": {}})
    inventory.record(pushed, Contact(state="converged", answered=True, reported=1, delay=30))
    appliance = inventory.appliance("r1")
    assert (appliance.state, appliance.reported, appliance.wanted) == ("pending", 1, 2)
    assert inventory.due(before=appliance.next_try + 0.001, most=9) == [appliance]
    inventory.record(appliance, Contact(state="converged", answered=True, reported=2, delay=30))
    assert inventory.appliance("r1").state == "converged"
    assert inventory.states()["converged"] == 1


def test_new_document_resets_the_back_off(inventory: Inventory) -> None:
    inventory.put("r1", {"name": "r1"})
    inventory.record(
        inventory.appliance("r1"),
        Contact(state="unreachable", answered=False, error="no route", attempts=9, delay=60),
    )
    late = inventory.appliance("r1")
    assert inventory.due(before=late.next_try - 1, most=9) == []
    assert inventory.due(before=late.next_try + 1, most=9, but=[late.id]) == []
    inventory.put("r1", {"name": "r1", "routes": {}})
    now = inventory.appliance("r1")
    assert (now.attempts, now.last_error, now.state) == (0, None, "pending")
    assert now.next_try < late.next_try - 50


def test_adopting_a_higher_generation_keeps_the_content(inventory: Inventory) -> None:
    inventory.put("r1", {"name": "r1"})
    appliance = inventory.appliance("r1")
    assert inventory.adopt(appliance, above=40, attempts=1, delay=0) == 41
    revision = inventory.document("r1")
    assert revision is not None
    assert json.loads(revision.text) == {"name": "r1", "generation": 41}
    assert revision.digest == digest({"name": "r1"})
    assert inventory.generations("r1") == [41]
    # The generation it counted on is not the wanted one any more.
    assert inventory.adopt(appliance, above=50, attempts=1, delay=0) is None
