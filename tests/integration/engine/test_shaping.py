"""Queues on links: changed one by one where they are, and kept as they are wanted whoever meddles."""

import errno
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.engine import plan as planning
from appliance.engine import traffic_control
from appliance.engine.host import Host
from appliance.engine.transaction import converge
from appliance.resources import Ruleset
from appliance.shaping import QUEUED, Queue, Shaping
from tests.integration.engine.conftest import Run

RATE = 1_000_000
"""Bytes per second."""


@pytest.fixture
def link(host: Host, run: Run) -> str:
    run("ip", "link", "add", "guest0", "type", "veth", "peer", "name", "far")
    if "htb" not in host.queue_kinds:
        pytest.skip("this kernel has no HTB")
    return "guest0"


def shaping(**more: Queue) -> Shaping:
    """A network with two guests in it, and one guest beside."""
    queues = {
        0x001: Queue(10 * RATE, 10 * RATE, 131072, leaf=False),
        0x401: Queue(1000, 10 * RATE, 131072, 0x001),
        0x801: Queue(1000, RATE, 131072, 0x001),
        0x802: Queue(2 * RATE, 2 * RATE, 70000),
    }
    return Shaping(link="guest0", queues={**queues, **{int(key[1:], 16): one for key, one in more.items()}})


def without(number: int, wanted: Shaping) -> Shaping:
    return replace(wanted, queues={key: one for key, one in wanted.queues.items() if key != number})


def details(wanted: list[Shaping], host: Host, *, fresh: bool = False) -> list[str]:
    return [change.detail for change in planning.make(wanted, host, fresh=fresh).changes]


def test_what_the_kernel_lists_is_what_was_wanted(host: Host, link: str, run: Run) -> None:
    converge([shaping()], host)
    assert details([shaping()], host) == []
    assert details([shaping()], host, fresh=True) == []
    listed = run("tc", "class", "show", "dev", link)
    assert "class htb 5359:1 root rate 80Mbit ceil 80Mbit" in listed
    assert "class htb 5359:801 parent 5359:1 leaf 801: prio 0 rate 8Kbit ceil 8Mbit burst" in listed
    assert "class htb 5359:802 root leaf 802: prio 0 rate 16Mbit ceil 16Mbit" in listed
    leaves = run("tc", "qdisc", "show", "dev", link)
    assert leaves.count("fq_codel" if "fq_codel" in host.queue_kinds else "bfifo") == 3


@pytest.mark.parametrize("rate", [8_000, 12_345, 125_000_000, 4_294_967_295, 12_500_000_000])
def test_slow_and_fast_ones(host: Host, link: str, rate: int) -> None:
    wanted = shaping(q900=Queue(rate, rate, 1_000_000_000), q901=Queue(1000, rate, 65_536, 0x001))
    converge([wanted], host)
    assert details([wanted], host, fresh=True) == []


def test_a_change_is_that_one_s_alone(host: Host, link: str, run: Run) -> None:
    converge([shaping()], host)
    wanted = shaping(q801=Queue(1000, 3 * RATE, 131072, 0x001), q803=Queue(RATE, RATE, 65536))
    assert details([wanted], host) == ["1 queues come, 1 change, 0 go"]
    converge([wanted], host)
    assert "ceil 24Mbit" in run("tc", "class", "show", "dev", link)
    assert details([wanted], host, fresh=True) == []
    assert details([without(0x803, wanted)], host) == ["0 queues come, 0 change, 1 go"]
    converge([without(0x803, wanted)], host)
    assert "5359:803" not in run("tc", "class", "show", "dev", link)


def test_a_network_s_rate_comes_and_goes_around_its_guests(host: Host, link: str) -> None:
    alone = Shaping(link=link, queues={0x801: Queue(RATE, RATE, 131072), 0x802: Queue(RATE, RATE, 131072)})
    for wanted in (alone, shaping(), alone, shaping()):
        converge([wanted], host)
        assert details([wanted], host, fresh=True) == []


@pytest.mark.parametrize(
    "harm",
    [
        "tc qdisc del dev guest0 root",
        "tc qdisc replace dev guest0 root handle 77: tbf rate 1mbit burst 10k latency 10ms",
        "tc class change dev guest0 classid 5359:802 htb rate 1mbit",
        "tc class del dev guest0 classid 5359:802",
        "tc class add dev guest0 parent 5359: classid 5359:999 htb rate 1mbit",
        "tc qdisc del dev guest0 parent 5359:802",
        "tc qdisc replace dev guest0 parent 5359:802 handle 77: pfifo limit 3",
        "tc qdisc replace dev guest0 parent 5359:802 handle 802: bfifo limit 3000",
        "ip link del guest0; ip link add guest0 type veth peer name far",
    ],
)
@pytest.mark.parametrize("fresh", [False, True], ids=["told", "looked for"])
def test_what_others_do_is_undone(host: Host, link: str, run: Run, harm: str, fresh: bool) -> None:
    converge([shaping()], host)
    if "bfifo" in harm and "fq_codel" in host.queue_kinds:
        pytest.skip("the kernel refuses it")
    run("sh", "-ec", harm)
    assert details([shaping()], host, fresh=fresh)
    converge([shaping()], host)
    assert details([shaping()], host, fresh=True) == []


def test_without_queues_a_link_is_as_it_was(host: Host, link: str, run: Run) -> None:
    before = run("tc", "qdisc", "show", "dev", link)
    converge([shaping()], host)
    converge([], host)
    assert run("tc", "qdisc", "show", "dev", link) == before
    assert details([], host, fresh=True) == []
    # What isn't ours stays.
    run("tc", "qdisc", "add", "dev", link, "root", "handle", "1:", "htb")
    assert details([], host, fresh=True) == []


def test_a_link_that_is_not_there_waits(host: Host, link: str, run: Run) -> None:
    run("ip", "link", "del", link)
    assert details([shaping()], host) == []


def test_a_thousand_are_little_work_and_one_more_is_less(host: Host, link: str) -> None:
    many = {f"q{number:x}": Queue(RATE, RATE, 131072) for number in range(0x1000, 0x1000 + 1000)}
    converge([shaping(**many)], host)
    assert details([shaping(**many)], host, fresh=True) == []
    host.traffic_control.observe = None  # type: ignore[assignment,method-assign]
    more = {**many, "qffff": Queue(RATE, RATE, 131072)}
    converge([shaping(**more)], host)
    assert details([shaping(**more)], host) == [], "the kernel told of it, and nothing was listed anew"


def test_what_the_kernel_refuses_is_said(host: Host, link: str) -> None:
    index = host.link_index(link)
    with pytest.raises(OSError, match="traffic control says no") as told:
        host.traffic_control.change([traffic_control.no_class(index, 5)])
    assert told.value.errno in (errno.EINVAL, errno.ENOENT)


@st.composite
def some(draw: st.DrawFn) -> Shaping:
    """A network's rate or none, and guests that borrow from it or have their own."""
    rates = st.sampled_from([RATE, 3 * RATE, 6_000_000_000])
    queues = {}
    parent = draw(st.sampled_from([0, 0x001, 0x002]))
    if parent:
        whole = draw(rates)
        queues[parent] = Queue(whole, whole, 131072, leaf=False)
    for number, rate in draw(st.dictionaries(st.integers(0x801, 0x805), rates, max_size=5)).items():
        above = draw(st.sampled_from([0, parent]))
        queues[number] = Queue(1000 if above else rate, rate, 131072, above)
    return Shaping(link="guest0", queues=queues)


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(some(), min_size=2, max_size=4))
def test_the_way_there_leaves_no_trace(host: Host, link: str, run: Run, several: list[Shaping]) -> None:
    for wanted in several:
        converge([wanted], host)
        assert details([wanted], host, fresh=True) == []
    reached = sorted(listed(run))
    converge([], host)
    converge([several[-1]], host)
    assert sorted(listed(run)) == reached


def listed(run: Run) -> list[str]:
    shown = [run("tc", what, "show", "dev", "guest0") for what in ("class", "qdisc")]
    return [line for text in shown for line in text.splitlines()]


def test_without_htb_nobody_waits(host: Host, link: str) -> None:
    host.__dict__["queue_kinds"] = frozenset()
    text = "table inet sysvm_limits { set queued { type ifname; }\n}"
    ruleset = Ruleset(table="sysvm_limits", text=text, elements={QUEUED: {"guest0": None}})
    outcome = converge([ruleset, shaping()], host)
    assert [change.kind for change in outcome.plan.changes] == ["Ruleset"]
    assert "guest0" not in json.dumps(host.nft.listing("set inet sysvm_limits queued"))
    assert details([ruleset, shaping()], host, fresh=True) == []  # type: ignore[list-item]
