from typing import Any

import pytest

from appliance.deployment import UnhealthyError, expect_counted, machine
from appliance.management.placement import Card, Placement

PLACEMENT = Placement(
    image="/images/router.qcow2",
    interfaces=[Card(mac="02:00:00:00:00:01", segment="br0"), Card(mac="02:00:00:00:00:02", segment="br1")],
    memory=768,
    ssh_keys=["ssh-ed25519 AAAA me"],
)


def counted(number: int) -> dict[str, Any]:
    return {
        "network-guest0": {"sent": {"bytes": number, "packets": 1}, "received": {"bytes": 5, "packets": 1}}
    }


def test_counters_may_grow_and_come_but_never_shrink_or_go() -> None:
    expect_counted(counted(10), counted(10))
    expect_counted(counted(10), counted(11) | {"network-guest1": {}})
    expect_counted({}, counted(1))
    with pytest.raises(UnhealthyError, match="network-guest0 sent bytes, 10 before"):
        expect_counted(counted(10), counted(9))
    with pytest.raises(UnhealthyError, match="network-guest0"):
        expect_counted(counted(10), {})


def test_a_placed_appliance_keeps_its_state_and_shows_nobody_its_boot_data() -> None:
    made = machine("r1", PLACEMENT, image="/images/newer.qcow2", boot={"tls": {"key": "PRIVATE"}})
    assert (made.keeps, str(made.image), made.hardware.memory) == (True, "/images/newer.qcow2", 768)
    assert [each.segment for each in made.interfaces] == ["br0", "br1"]
    assert b"PRIVATE" in (made.boot or b"")
    assert b"ssh-ed25519 AAAA me" in (made.boot or b"")
    assert "PRIVATE" not in repr(made)
