"""A single router becomes one of a pair, and single again: what passes through it goes on."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flows import Pings
from pair_lab import PairLab, document
from router_lab import PUBLIC, WEB, until
from test_pair import flows

_SILENCE = 8.0
"""Seconds, and that on a machine that is busy: three adverts, and what keepalived takes to begin."""


def single(name: str) -> dict[str, Any]:
    """The same router without a second one."""
    value = document(name)
    del value["redundancy"], value["interfaces"]["sync0"]
    return value


def nothing(name: str) -> dict[str, Any]:
    return {"role": "router", "name": name}


@pytest.fixture
def lab(pair: PairLab) -> Iterator[PairLab]:
    """The first one alone with the addresses, the other without a document of any use."""
    pair.routers["r2"].put(nothing("r2"))
    pair.routers["r1"].put(single("r1"))
    until(lambda: pair["vm1"].ping(WEB), what="the way out")
    yield pair
    pair.put()


def test_a_pair_is_made_of_a_single_router_and_back(lab: PairLab) -> None:
    one, two = lab.routers["r1"], lab.routers["r2"]
    assert "redundancy" not in one.status()
    with ExitStack() as stack:
        running = {name: stack.enter_context(flow) for name, flow in flows(lab).items()}
        pings = Pings(lab["vm1"], WEB)
        until(lambda: all(len(flow.answered) > 50 for flow in running.values()), what="answers to all")
        before = {name: set(flow.seen) for name, flow in running.items()}

        def go_on() -> bool:
            since = time.monotonic()
            until(lambda: all(flow.answered_after(since) for flow in running.values()), what="answers again")
            return True

        # The one that has the addresses is first: alone it becomes the primary; then the other one joins.
        one.put(document("r1"))
        until(lambda: lab.state("r1") == "primary", what="a primary")
        assert go_on()
        two.put(document("r2"))
        assert lab.settled() == "r1"
        assert lab.have("10.1.1.1") == lab.have(PUBLIC) == ["r1"]
        assert go_on() and one.drift() == [] and two.drift() == []
        # It is a pair: the flows outlive a switch-over.
        lab.make_primary("r2")
        assert go_on()
        lab.make_primary("r1")
        assert go_on()
        # And back: first the other one goes.
        two.put(nothing("r2"))
        one.put(single("r1"))
        assert go_on() and one.drift() == []
        assert lab.have("10.1.1.1") == lab.have(PUBLIC) == ["r1"]
        assert one.unit("sysvm-keepalived", "ActiveState") in ("inactive", "failed", "")
        sent, answered = pings.stop()
        for flow in running.values():
            flow.stop()
    for name, flow in running.items():
        assert flow.error is None, name
        assert flow.seen == before[name], (name, "the same address and port outside")
        assert flow.lost == 0 or flow.udp, name
        assert flow.longest_silence < _SILENCE, (name, flow.longest_silence)
    assert answered > 0 and (sent - answered) * 0.02 < 4 * _SILENCE
    print({name: round(flow.longest_silence, 2) for name, flow in running.items()}, sent - answered)
