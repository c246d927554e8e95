"""What ends with a rule: the connections that it alone let in."""

import pytest

from appliance.engine.boxes import span
from appliance.engine.conntrack import Connection
from router.admission import admissions
from tests.examples import example, read
from tests.unit.router.tracked import ended, seen, table

WEB = seen("198.51.100.7", "203.0.113.5", 8080, reply_source="10.1.1.10", reply_port=80)
GAME = seen("198.51.100.7", "203.0.113.5", 27003, 17, reply_source="10.1.1.12")
STATIC = seen("198.51.100.7", "203.0.113.6", 5, reply_source="10.1.1.11")
STATIC_OUT = seen("10.1.1.11", "198.51.100.7", 443, reply_destination="203.0.113.6")
GUEST_OUT = seen("10.1.1.10", "198.51.100.7", 443, reply_destination="203.0.113.5")
BACK_DNS = seen("10.1.17.10", "198.51.100.7", 53, 17, reply_destination="203.0.113.7")
PING = seen("198.51.100.7", "203.0.113.5", protocol=1, icmp_type=8)
HAIRPIN = seen("10.1.1.12", "203.0.113.5", 8080, reply_source="10.1.1.10", reply_port=80)
ALL = (WEB, GAME, STATIC, STATIC_OUT, GUEST_OUT, BACK_DNS, PING, HAIRPIN)


def test_every_set_that_lets_in_is_known() -> None:
    names = {name for name, filled in table(example("everything")).elements.items() if filled}
    named = ("forward", "static", "source_nat", "peers", "reach", "tunnel_", "udp_")
    letting = {name for name in names if name.startswith(named)}
    # Those of the last two say by what way, and whom they aren't about.
    unsaying = {"udp_limited4", "udp_limited6", "tunnel_users4", "tunnel_users6"}
    unsaying.add("reach_guest1_6")  # which has no IPv6
    assert letting - unsaying <= admissions(read(example("everything"))).keys()


@pytest.mark.parametrize(
    ("place", "ending"),
    [
        (("port_forwards", "web"), {WEB, HAIRPIN}),
        (("port_forwards", "game"), {GAME}),
        (("static_nat", "203.0.113.6"), {STATIC, STATIC_OUT}),
        (("firewall", "ingress", "rules", "game"), {GAME}),
        (("firewall", "ingress", "rules", "ping"), {PING}),
        # Another rule lets it in as well.
        (("firewall", "ingress", "rules", "web"), set()),
        (("firewall", "ingress", "rules", "web-wide"), set()),
        (("firewall", "ingress", "rules", "all"), {STATIC}),
        (("firewall", "egress", "guest1", "rules", "dns"), {BACK_DNS}),
        # It only dropped.
        (("firewall", "ingress", "rules", "bad"), set()),
        (("firewall", "egress", "guest0", "rules", "no-mail"), set()),
    ],
    ids=lambda value: "/".join(value) if isinstance(value, tuple) else "",
)
def test_one_goes(place: tuple[str, ...], ending: set[Connection]) -> None:
    after = example("everything")
    inner = after
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    assert set(ended(example("everything"), after, *ALL)) == ending


def test_what_the_policy_lets_in_stays() -> None:
    before, after = example("everything"), example("everything")
    before["firewall"]["ingress"]["policy"] = after["firewall"]["ingress"]["policy"] = "accept"
    after["firewall"]["ingress"]["rules"] = {}
    assert ended(before, after, *ALL) == []
    before["firewall"]["egress"]["guest1"]["policy"] = after["firewall"]["egress"]["guest1"]["policy"] = (
        "accept"
    )
    after["firewall"]["egress"]["guest1"]["rules"] = {}
    assert ended(before, after, *ALL) == []


def test_another_target_ends_those_to_the_old_one() -> None:
    after = example("everything")
    after["port_forwards"]["web"]["target"] = "10.1.1.12"
    assert set(ended(example("everything"), after, *ALL)) == {WEB, HAIRPIN}


def test_what_is_only_cut_otherwise_stays() -> None:
    before, after = example("everything"), example("everything")
    after["port_forwards"]["web"]["source_cidrs"] = ["198.51.100.0/24"]
    stays = set(ended(before, after, *ALL))
    assert WEB not in stays and HAIRPIN in stays, "the guest isn't one of those sources"


def test_spans() -> None:
    assert span("80") == (80, 80)
    assert span("8000-8010") == (8000, 8010)
    assert span("10.1.1.0/30") == (0x0A010100, 0x0A010103)
    assert span("10.1.1.5-10.1.1.9") == (0x0A010105, 0x0A010109)
    assert span("fd00::1") == (0xFD << 120 | 1, 0xFD << 120 | 1)
