"""Who is shaped waits, and loses little: real transfers through the router, beside unlimited ones."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from router_document import VM1, document
from router_lab import FAR, FORWARDS, PUBLIC, WEB, Lab, until
from traffic import flood, transfer

RATE = 16_000_000
"""Bits per second; two megabytes."""
SECONDS = 2.5
PORT = 5101
NETWORK6, OUTSIDE6 = "fd00:1::", "2001:db8::"


def limited(**sections: Any) -> dict[str, Any]:
    return {**document(), "limits": sections}


def both(rate: int = RATE, **more: Any) -> dict[str, Any]:
    return {direction: {"rate": rate, **more} for direction in ("sent", "received")}


def held(rate: float, *, of: float = RATE) -> bool:
    """Whether so many bytes of content per second are about what a queue lets pass."""
    return of / 8 * 0.5 < rate < of / 8 * 1.1


@pytest.fixture(autouse=True)
def able(lab: Lab) -> None:
    if not lab.status()["capabilities"]["htb"]:
        pytest.skip("the host's kernel has no HTB")


@pytest.mark.parametrize("back", [False, True], ids=["sent", "received"])
def test_a_queue_loses_less_than_a_policer(lab: Lab, back: bool) -> None:
    again = {}
    for mode in ("policed", "shaped"):
        lab.put(limited(guests={VM1: both(mode=mode)}))
        assert lab.drift() == []
        with transfer(lab["vm1"], WEB, PORT, lab["net"], back=back) as one:
            # A policer lets a second's worth pass at first.
            time.sleep(2)
            before = one.sent_again
            rate = one.rate(2 * SECONDS)
            again[mode] = one.sent_again - before
        if mode == "shaped":
            assert held(rate), rate
    assert again["policed"] > 20, again
    assert again["shaped"] < again["policed"] / 3, again


def test_another_guest_neither_waits_nor_slows_down(lab: Lab) -> None:
    lab.put(limited(guests={VM1: both()}))
    with (
        transfer(lab["vm1"], WEB, PORT, lab["net"]) as one,
        transfer(lab["vm1"], FAR, PORT + 1, lab["net"], back=True) as two,
    ):
        time.sleep(1.5)
        took = sorted(map(seconds, [lab] * 21))
        assert took[10] < 0.05, took
        with transfer(lab["vm2"], WEB, PORT + 2, lab["net"]) as free:
            assert free.rate(1.0) > RATE / 8 * 4
        assert held(two.rate(SECONDS))
        # Whose answers wait in the other's queue, where the kernel has no fq_codel.
        sent = one.rate(SECONDS)
        fair = lab.get("/v1/status")["capabilities"]["fq_codel"]
        assert held(sent) if fair else sent < RATE / 8 * 1.15


def seconds(lab: Lab) -> float:
    begun = time.monotonic()
    assert lab["vm2"].ask(WEB, 80)
    return time.monotonic() - begun


def test_guests_share_their_network_s_rate(lab: Lab) -> None:
    own = {"10.1.1.11": {"received": {"rate": RATE // 4}}}
    lab.put(limited(networks={"guest0": {"received": {"rate": RATE}}}, guests=own))
    assert lab.drift() == []
    with (
        transfer(lab["vm1"], WEB, PORT, lab["net"], back=True) as one,
        transfer(lab["vm2"], WEB, PORT + 1, lab["net"], back=True) as two,
        transfer(lab["vm3"], WEB, PORT + 2, lab["net"], back=True) as free,
    ):
        time.sleep(1.5)
        free.close()
        slow, all_of_it = two.rate(SECONDS), one.rate(SECONDS)
        assert held(slow, of=RATE // 4), slow
        assert held(slow + all_of_it), (slow, all_of_it)
        lab.patch({"limits": {"guests": {"10.1.1.11": {"received": {"rate": 10 * RATE}}}}})
        time.sleep(1)
        rates = one.rate(2 * SECONDS), two.rate(2 * SECONDS)
        assert min(rates) > RATE / 8 * 0.2, "neither is starved"
        assert sum(rates) < RATE / 8 * 1.3
        # Who has a queue of his own has it without the network, too.
        lab.patch({"limits": {"networks": None}})
        time.sleep(1)
        assert one.rate(1.0) > 3 * RATE / 8
        assert held(two.rate(SECONDS), of=10 * RATE)
        assert not one.ended.is_set() and not two.ended.is_set()


def test_each_of_several_limits_holds(lab: Lab) -> None:
    """A packet waits for one of them; the others are policers."""
    wide, narrow = {"rate": 4 * RATE}, {"rate": RATE}
    for outer, inner in ((wide, narrow), (narrow, wide)):
        lab.put(limited(guests={VM1: {"sent": inner, "received": inner}},
                        addresses={PUBLIC: {"sent": outer, "received": outer}}))  # fmt: skip
        assert lab.drift() == []
        for back in (False, True):
            with transfer(lab["vm1"], WEB, PORT, lab["net"], back=back) as one:
                time.sleep(3)
                assert RATE / 8 * 0.3 < one.rate(SECONDS) < RATE / 8 * 1.3


def test_between_networks_the_receiver_waits_and_the_sender_is_policed(lab: Lab) -> None:
    lab.patch({"port_forwards": {"web": {"target_ports": PORT}}})
    running = lab.pushed
    for limits in (
        {"guests": {VM1: {"received": {"rate": RATE}}}},
        {"guests": {"10.1.2.10": {"sent": {"rate": RATE}}}},
        {"networks": {"guest1": {"sent": {"rate": RATE}}}},
    ):
        lab.put({**running, "limits": limits})
        assert lab.drift() == []
        with transfer(lab["vm3"], FORWARDS, 8080, lab["vm1"], server_port=PORT) as one:
            time.sleep(3)
            assert RATE / 8 * 0.3 < one.rate(SECONDS) < RATE / 8 * 1.3


@pytest.fixture
def dual(lab: Lab) -> Iterator[Lab]:
    vm, net = lab["vm1"], lab["net"]
    vm.run("ip", "address", "replace", f"{NETWORK6}10/64", "dev", "eth0", "nodad")
    vm.run("ip", "route", "replace", "default", "via", f"{NETWORK6}1")
    net.run("ip", "address", "replace", f"{OUTSIDE6}1/64", "dev", "eth0", "nodad")
    net.run("ip", "route", "replace", f"{NETWORK6}/64", "via", f"{OUTSIDE6}2")
    try:
        yield lab
    finally:
        vm.run("ip", "address", "del", f"{NETWORK6}10/64", "dev", "eth0")
        net.run("ip", "route", "del", f"{NETWORK6}/64")
        net.run("ip", "address", "del", f"{OUTSIDE6}1/64", "dev", "eth0")


def test_ipv6_as_ipv4_and_after_a_power_cut(dual: Lab) -> None:
    wanted = limited(guests={"10.1.1.10": both(), f"{NETWORK6}10": both()})
    wanted["interfaces"]["guest0"]["addresses"].append(f"{NETWORK6}1/64")
    wanted["interfaces"]["public0"]["addresses"].append(f"{OUTSIDE6}2/64")
    dual.put(wanted)
    for again in (False, True):
        if again:
            dual.power_cut()
            dual.settled()
        assert dual.drift() == []
        until(lambda: dual["vm1"].ping(f"{OUTSIDE6}1"), seconds=30)
        for back in (False, True):
            with (
                transfer(dual["vm1"], f"{OUTSIDE6}1", PORT, dual["net"], back=back) as six,
                transfer(dual["vm1"], WEB, PORT + 1, dual["net"], back=back) as four,
            ):
                time.sleep(1.5)
                # Two queues: an address each.
                assert held(six.rate(SECONDS)) and held(four.rate(SECONDS))


def test_a_flood_fills_nobody_else_s_queue(lab: Lab) -> None:
    lab.put(limited(guests={VM1: both(), "10.1.1.11": both()}))
    with flood(lab["vm1"], FAR, 9, bytes(1400)), transfer(lab["vm2"], WEB, PORT, lab["net"]) as other:
        time.sleep(1)
        assert held(other.rate(SECONDS))


def test_a_pulled_plug_of_somebody_s_is_healed(lab: Lab) -> None:
    lab.put(limited(guests={VM1: both()}))
    lab.run("tc", "qdisc", "del", "dev", "public0", "root")
    assert lab.drift() != []
    until(lambda: "5359:" in lab.run("tc", "qdisc", "show", "dev", "public0"), seconds=60)
    until(lambda: lab.drift() == [], seconds=30)
    with transfer(lab["vm1"], WEB, PORT, lab["net"]) as one:
        time.sleep(1.5)
        assert held(one.rate(SECONDS))
    lab.put(document())
    assert "5359:" not in lab.run("tc", "qdisc", "show")
