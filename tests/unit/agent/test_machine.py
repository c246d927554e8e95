"""What is left of the machine, as its kernel tells it."""

from pathlib import Path

from appliance.agent import machine


def test_what_there_is_and_what_is_left_of_it(tmp_path: Path) -> None:
    found = {name: value for name, text, value in machine.gauges(tmp_path) if text}
    assert found["processors"] >= 1 and found["load"] >= 0
    for name in ("memory", "storage"):
        assert 0 < found[f"{name}_available_bytes"] <= found[f"{name}_bytes"]
    assert found.get("tracked_connections", 0) <= found.get("most_tracked_connections", 0)


def test_a_kernel_that_tracks_nothing_is_no_error(tmp_path: Path) -> None:
    before, machine._TRACKED = machine._TRACKED, tmp_path
    try:
        names = [name for name, _, _ in machine.gauges(tmp_path)]
    finally:
        machine._TRACKED = before
    assert "memory_bytes" in names and "tracked_connections" not in names
