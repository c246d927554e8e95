"""What ends with the firewall's rules: connections that they refuse now, and no others."""

from typing import Any

import pytest

from appliance.engine.conntrack import Connection
from appliance.model import merge_patch
from router.firewall_gates import firewall_gates
from tests.examples import document, example
from tests.unit.router.test_admission import ALL, BACK_DNS, GAME, GUEST_OUT, PING, STATIC, STATIC_OUT, WEB
from tests.unit.router.tracked import ended, seen


def drop(**fields: Any) -> dict[str, Any]:
    return {"verdict": "drop", "protocol": "all", **fields}


def ingress(**rules: Any) -> dict[str, Any]:
    return {"firewall": {"ingress": {"rules": rules}}}


def egress(link: str, **rules: Any) -> dict[str, Any]:
    return {"firewall": {"egress": {link: {"rules": rules}}}}


@pytest.mark.parametrize(
    ("patch", "ending"),
    [
        # A rule that drops ends what it is about, and nothing else: guests on their way out and in by a
        # public address of their own router's don't meet it.
        (ingress(shut=drop(address="203.0.113.5")), {WEB, GAME, PING}),
        (ingress(shut=drop(address="203.0.113.5", protocol="tcp", ports="8000-9000")), {WEB}),
        (ingress(shut=drop(address="203.0.113.5", source_cidrs=["198.51.100.8/32"])), set()),
        (ingress(shut=drop(address="203.0.113.6", protocol="tcp", ports=5)), {STATIC}),
        (ingress(more={"verdict": "accept", "address": "203.0.113.5", "protocol": "all"}), set()),
        # What another one drops already, a rule that logs, one that another one stands for.
        (ingress(bad=None), set()),
        (ingress(web={"log": True}, ping={"log": True}), set()),
        (ingress(game={"ports": "27000-27002"}), {GAME}),
        (ingress(game={"verdict": "drop"}), {GAME}),
        (egress("guest0", shut=drop(destination_cidrs=["198.51.100.0/24"])), {STATIC_OUT, GUEST_OUT}),
        (egress("guest0", shut=drop(protocol="tcp", source_cidrs=["10.1.1.11/32"])), {STATIC_OUT}),
        (egress("guest1", shut=drop(protocol="udp")), {BACK_DNS}),
        ({"firewall": {"egress": {"guest0": {"policy": "drop"}}}}, {STATIC_OUT, GUEST_OUT}),
        ({"firewall": {"egress": {"guest0": None}}}, {STATIC_OUT, GUEST_OUT}),
    ],
    ids=lambda value: str(value)[:70] if isinstance(value, dict) else "",
)  # fmt: skip
def test_rules_of_the_firewall(patch: dict[str, Any], ending: set[Connection]) -> None:
    before = example("everything")
    assert set(ended(before, merge_patch(before, patch), *ALL)) == ending


def test_the_routers_own_connections_and_tunnels_ends_meet_no_rule() -> None:
    before = example("everything")
    apart = (
        seen("203.0.113.5", "198.51.100.7", 53, 17),
        seen("169.254.3.1", "169.254.3.2", 8443),
        # IKE, and L2TP within it.
        seen("198.51.100.7", "203.0.113.7", 4500, 17),
        seen("198.51.100.7", "203.0.113.7", 1701, 17),
        seen("10.1.1.10", "10.1.1.1", 53, 17),
        # Tunnels.
        seen("10.99.0.2", "10.1.1.10", 22),
        seen("10.1.1.10", "10.99.0.2", 22),
    )
    shut = {f"shut-{n}": drop(address=f"203.0.113.{n}") for n in (5, 6, 7)}
    patch = {
        "firewall": {
            "ingress": {"rules": shut}, "egress": {"guest0": {"rules": {"shut": drop()}}}
        }
    }  # fmt: skip
    assert ended(before, merge_patch(before, patch), *apart) == []


def test_where_rules_are_met() -> None:
    found = {gate.name: gate for gate in firewall_gates(document("everything"))}
    # Tiers have their lists.
    assert found.keys() == {
        "ingress 4",
        "ingress 6",
        "egress guest0 4",
        "egress guest0 6",
        "egress guest1 4",
    }
    assert "10.2.2.0/24" in found["ingress 4"].networks, "a network without source NAT is reached by its own"
    assert "10.1.1.0/24" not in found["ingress 4"].networks
    assert not found["ingress 4"].passes and found["egress guest0 4"].passes
