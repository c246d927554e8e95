"""What ends with a change of access lists, tunnels, udp load balancers and source NAT; and what doesn't."""

from pathlib import Path
from typing import Any

import pytest

from appliance.engine import gates as engine
from appliance.engine.conntrack import Connection
from appliance.engine.host import Host
from appliance.model import merge_patch
from router import gates
from tests.examples import document, example
from tests.unit.router.tracked import ended, seen, table

EVERYTHING = example("everything")
FAR = "198.51.100.7"
# To the tier guest2 ("front") from the internet, another tier, and itself; and out of it.
WEB = seen(FAR, "192.0.2.6", 8080, reply_source="10.2.1.10", reply_port=80)
WEB6 = seen("2001:db8:f::1", "fd00:2::10", 80)
HIGH = seen(FAR, "192.0.2.6", 8050, reply_source="10.2.1.10")
PING = seen("10.2.2.10", "10.2.1.10", protocol=1, icmp_type=8)
MAIL = seen("10.2.1.10", FAR, 26, reply_destination="192.0.2.5")
BRANCH = seen("10.2.1.10", "172.20.1.9", 443, reply_destination="172.16.0.2")
DATABASE = seen("10.2.1.10", "10.2.2.10", 5432)
DNS = seen("10.2.1.10", "10.2.1.1", 53, 17)
BALANCED = seen("10.2.2.1", "10.2.1.10", 9999)
"""From the router itself."""
LISTED = (WEB, WEB6, HIGH, PING, MAIL, BRANCH, DATABASE, DNS, BALANCED)


def acls(**lists: Any) -> dict[str, Any]:
    return {"acls": lists}


def rules(**named: Any) -> dict[str, Any]:
    return {"rules": named}


DENY = {"number": 1, "direction": "ingress", "verdict": "drop", "protocol": "tcp"}


@pytest.mark.parametrize(
    ("patch", "ending"),
    [
        ({}, set()),
        (acls(front=rules(web=None)), {WEB, WEB6, HIGH}),
        (acls(front=rules(web={"ports": [80]})), {HIGH}),
        (acls(front=rules(web={"cidrs": ["::/0"]})), {WEB, HIGH}),
        (acls(front=rules(ping=None)), {PING}),
        # A denying rule in front, by port and by who asks; one behind changes nothing.
        (acls(front=rules(deny={**DENY, "ports": [80]})), {WEB, WEB6}),
        (acls(front=rules(deny={**DENY, "cidrs": [f"{FAR}/32"]})), {WEB, HIGH}),
        (acls(front=rules(deny={**DENY, "number": 900})), set()),
        (acls(front=rules(deny={**DENY, "direction": "egress", "ports": [26]})), {MAIL}),
        # Another rule lets it in as well, or the order changes and not what is let in.
        (acls(front=rules(web=None, all={**DENY, "number": 700, "verdict": "accept"})), set()),
        (acls(front=rules(web={"number": 800})), set()),
        # Logging is another way of saying it.
        (acls(front=rules(web={"log": True})), set()),
        # Both lists of a connection between tiers.
        (acls(back=rules(database=None)), {DATABASE}),
        (acls(front=rules(deny={**DENY, "direction": "egress", "ports": [5432]})), {DATABASE}),
        # The private gateway's: what leaves by it meets `back`'s egress.
        (acls(back={"egress_policy": "accept"}), set()),
        (acls(front=rules(branch=None)), {BRANCH}),
        # The policy; another list for the tier.
        (acls(front={"egress_policy": "drop"}), {MAIL, DATABASE}),
        ({"tiers": {"guest2": {"acl": "back"}}}, {WEB, WEB6, HIGH, PING, MAIL, DATABASE}),
        ({"tiers": {"guest3": {"acl": "front"}}}, {DATABASE, PING}),
    ],
    ids=lambda value: str(value)[:70] if isinstance(value, dict) else "",
)  # fmt: skip
def test_lists(patch: dict[str, Any], ending: set[Connection]) -> None:
    before = merge_patch(EVERYTHING, acls(back={"rules": {
        "out": {"number": 50, "direction": "egress", "verdict": "accept", "protocol": "tcp", "ports": [443]},
        "pings": {"number": 51, "direction": "egress", "verdict": "accept", "protocol": "icmp"},
    }}))  # fmt: skip
    if patch == {"tiers": {"guest3": {"acl": "front"}}}:
        # `front` lets in only ports of the web.
        ending = {DATABASE}
    assert set(ended(before, merge_patch(before, patch), *LISTED)) == ending


def test_a_narrower_network_elsewhere_is_not_behind_the_link() -> None:
    value = merge_patch(EVERYTHING, {"routes": {
        "all": {"destination": "172.16.0.0/12", "gateway": "172.16.0.1"},
        "lab": {"destination": "172.30.0.0/16", "gateway": "10.1.1.254"},
    }})  # fmt: skip
    found = {gate.name: gate for gate in gates.gates(document("everything"))}
    assert found["source guest2 4"].networks == ("10.2.1.0/24",)
    assert found["source guest2 6"].networks == ("fd00:2::/64",)
    assert found["reply_source private0 4"].networks == (
        "172.16.0.0/24", "172.20.0.0/16", "172.21.0.0/16",
    )  # fmt: skip
    assert found["reply_source private0 4"].apart == ()
    there = seen("10.2.1.10", "172.20.3.9", 80, reply_destination="172.16.0.2")
    lab = seen("10.1.16.10", "172.30.0.9", 80)
    before = merge_patch(value, acls(back={"egress_policy": "accept"}, front=rules(**{"branch-only": None})))
    after = merge_patch(before, acls(back={"egress_policy": "drop"}))
    assert ended(before, after, there, lab) == [there]


def test_gates_that_went_and_come_again_are_asked_anew(tmp_path: Path) -> None:
    host = Host(generated=tmp_path)
    host.state.mkdir(parents=True)
    with_lists, without = table(EVERYTHING), table(example("minimal"))
    assert engine.changed(with_lists, host) == {gate.name for gate in with_lists.gates}
    engine.note(with_lists, host)
    assert not engine.stale(with_lists, host) and not engine.changed(with_lists, host)
    other = table(merge_patch(EVERYTHING, acls(front={"egress_policy": "drop"})))
    assert engine.changed(other, host) == {"source guest2 4", "source guest2 6"}
    assert engine.stale(without, host) and not engine.changed(without, host)
    engine.note(without, host)
    assert engine.changed(with_lists, host)


# --- tunnels ------------------------------------------------------------------------------------------

OFFICE = seen("10.1.1.10", "192.168.5.9", 80)
FROM_OFFICE = seen("192.168.5.9", "10.1.1.10", 22)
OFFICE6 = seen("fd00:1::10", "fd00:5::9", 80)
OLD = seen("10.1.1.10", "192.168.7.9", 80)
USER = seen("10.200.0.3", "10.1.1.10", 80)
USER_OUT = seen("10.200.0.3", FAR, 80, reply_destination="203.0.113.7")
ALICE = seen("10.99.0.2", "10.1.1.10", 80)
ALICE_FURTHER = seen("10.99.0.2", "10.1.16.10", 80)
ALICE6 = seen("fd00:99::2", "fd00:1::10", 80)
TO_ALICE = seen("10.1.1.10", "10.99.0.2", 22)
ALICE_OUT = seen("10.99.0.2", FAR, 80, reply_destination="203.0.113.7")
SITE = seen("10.50.3.3", "10.1.1.10", 80)
SITE_TO_ALICE = seen("10.50.3.3", "10.99.0.2", 80)
GUEST = seen("10.1.1.10", FAR, 443, reply_destination="203.0.113.5")
INSIDE = (OFFICE, FROM_OFFICE, OFFICE6, OLD, USER, USER_OUT, ALICE, ALICE_FURTHER, ALICE6, TO_ALICE,
          ALICE_OUT, SITE, SITE_TO_ALICE, GUEST)  # fmt: skip
BY_ALICE = {ALICE, ALICE_FURTHER, ALICE6, TO_ALICE, ALICE_OUT}


def peers(**named: Any) -> dict[str, Any]:
    return {"wireguard": {"vpn0": {"peers": named}}}


@pytest.mark.parametrize(
    ("patch", "ending"),
    [
        ({"ipsec": {"office": None}}, {OFFICE, FROM_OFFICE, OFFICE6}),
        ({"ipsec": {"office": {"remote_subnets": ["192.168.5.0/24"], "local_subnets": ["10.1.1.0/24"]}}},
         {OFFICE6}),
        ({"ipsec": {"old": None}}, {OLD}),
        ({"remote_access": None}, {USER, USER_OUT}),
        ({"remote_access": {"source_nat": "203.0.113.6"}}, {USER_OUT}),
        (peers(alice=None), BY_ALICE),
        (peers(alice={"reach": ["guest1"]}), {ALICE, ALICE6, TO_ALICE}),
        (peers(alice={"allowed_ips": ["10.99.0.2/32"]}), {ALICE6}),
        (peers(office={"reach": ["guest0"]}), {SITE_TO_ALICE}),
        (peers(office={"allowed_ips": ["10.99.0.3/32"]}), {SITE, SITE_TO_ALICE}),
        (peers(alice={"persistent_keepalive": 20}), set()),
        ({"wireguard": {"vpn0": {"source_nat": []}}}, {ALICE_OUT}),
        ({"wireguard": {"vpn0": None}}, {*BY_ALICE, SITE, SITE_TO_ALICE}),
        ({"source_nat": {"guest0": {"address": "203.0.113.7"}}}, {GUEST}),
        ({"source_nat": {"guest0": None}}, {GUEST}),
    ],
    ids=lambda value: str(value)[:70] if isinstance(value, dict) else "",
)  # fmt: skip
def test_tunnels_and_source_nat(patch: dict[str, Any], ending: set[Connection]) -> None:
    # Users who differ have elements as they are connected: see tests/unit/agent/test_users.py.
    alike = merge_patch(EVERYTHING, {"remote_access": {"users": {"bob@example.org": {"reach": None}}}})
    assert set(ended(alike, merge_patch(alike, patch), *INSIDE)) == ending


# --- load balancers of udp ----------------------------------------------------------------------------

ONE = seen(FAR, "203.0.113.7", 53, 17, reply_source="10.1.1.10")
TWO = seen(FAR, "203.0.113.7", 53, 17, reply_source="10.1.1.11", reply_port=5353)
OTHER_SOURCE = seen("192.0.2.7", "203.0.113.7", 53, 17, reply_source="10.1.1.10")
SIX = seen("2001:db8:f::1", "2001:db8::5", 53, 17, reply_source="fd00:1::10")
SAME_BY_TCP = seen(FAR, "203.0.113.7", 53, 6, reply_source="10.1.1.10")
BALANCED_FLOWS = (ONE, TWO, OTHER_SOURCE, SIX, SAME_BY_TCP, GUEST)


def test_a_server_that_rests_keeps_its_flows_until_it_goes() -> None:
    for resting in ({"state": "drain"}, {"state": "maintenance"}, {"backup": True}):
        before = merge_patch(EVERYTHING, {"load_balancers": {"names": {"servers": {"ns2": resting}}}})
        assert ended(EVERYTHING, before, *BALANCED_FLOWS) == []
        after = merge_patch(before, {"load_balancers": {"names": {"servers": {"ns2": None}}}})
        assert ended(before, after, *BALANCED_FLOWS) == [TWO]


@pytest.mark.parametrize(
    ("patch", "ending"),
    [
        ({"names": None}, {ONE, TWO, OTHER_SOURCE}),
        ({"names6": None}, {SIX}),
        ({"names": {"servers": {"ns1": None}}}, {ONE, OTHER_SOURCE}),
        ({"names": {"servers": {"ns1": {"weight": 9}}}}, set()),
        ({"names": {"servers": {"ns1": {"state": "drain"}}}}, set()),
        ({"names": {"servers": {"ns1": {"backup": True}}}}, set()),
        ({"names": {"servers": {"ns1": {"port": 54}}}}, {ONE, OTHER_SOURCE}),
        ({"names": {"servers": {"ns3": {"address": "10.1.1.12"}}}}, set()),
        ({"names": {"source_cidrs": ["198.51.100.0/25"]}}, {OTHER_SOURCE}),
        ({"names": {"source_cidrs": []}}, set()),
        ({"names": {"algorithm": "source"}}, set()),
    ],
    ids=str,
)
def test_balanced_flows(patch: dict[str, Any], ending: set[Connection]) -> None:
    after = merge_patch(EVERYTHING, {"load_balancers": patch})
    assert set(ended(EVERYTHING, after, *BALANCED_FLOWS)) == ending
