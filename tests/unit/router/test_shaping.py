"""Who waits where: classes, their numbers, and the elements that lead to them."""

from typing import Any

from appliance.resources import Resource, Ruleset
from appliance.shaping import Queue, Shaping
from router import limits, shaping
from tests.examples import example, problems, read

RATE = {"rate": 8_000_000}
MAC = "02:00:0a:01:01:0a"


def wanted(section: Any, *, name: str = "two-networks") -> list[Resource]:
    return list(limits.resources(read({**example(name), "limits": section})))


def queues(found: list[Resource]) -> dict[str, list[Queue]]:
    return {each.link: list(each.queues.values()) for each in found if isinstance(each, Shaping)}


def elements(found: list[Resource]) -> dict[str, dict[str, str | None]]:
    (table,) = [each for each in found if isinstance(each, Ruleset)]
    names = ("queued", *shaping.CLASSES)
    return {name: dict(table.elements[name]) for name in names if table.elements[name]}


def test_a_guest_waits_on_its_network_s_link_and_on_those_to_the_outside() -> None:
    found = wanted({"guests": {"10.1.1.10": {"sent": RATE, "received": {"rate": 16_000_000}}}})
    assert queues(found) == {
        "public0": [Queue(1_000_000, 1_000_000, 131_072)],
        "guest0": [Queue(2_000_000, 2_000_000, 131_072)],
    }
    made = elements(found)
    assert made["queued"] == {"public0": None, "guest0": None}
    (sent,) = [each for each in found if isinstance(each, Shaping) and each.link == "public0"]
    assert made["guest_sent_class4"] == {"10.1.1.10": f"5359:{next(iter(sent.queues)):x}"}
    assert made.keys() == {"queued", "guest_sent_class4", "guest_received_class4"}


def test_all_of_a_guest_s_addresses_have_one_queue_between_them() -> None:
    value = example("everything")
    found = wanted(
        {"guests": {MAC: {"received": RATE}, "fd00:1::50": {"received": RATE}}}, name="everything"
    )
    assert len(queues(found)["guest0"]) == 2
    made = elements(found)
    assert list(made["guest_received_class4"]) == ["10.1.1.10"]
    assert list(made["guest_received_class6"]) == ["fd00:1::50"]
    assert value["dhcp"]["guest0"]["reservations"][MAC]["address"] == "10.1.1.10"


def test_guests_borrow_from_their_network() -> None:
    network = {"sent": {"rate": 80_000_000}, "received": {"rate": 80_000_000}}
    found = wanted(
        {"networks": {"guest0": network}, "guests": {"10.1.1.10": {"sent": RATE, "received": RATE}}}
    )
    for link in ("guest0", "public0"):
        (each,) = [item for item in found if isinstance(item, Shaping) and item.link == link]
        assert each.queues[1] == Queue(10_000_000, 10_000_000, 131_072, leaf=False)
        assert each.queues[0x401] == Queue(1_000, 10_000_000, 131_072, 1), "the other guests'"
        (own,) = [queue for number, queue in each.queues.items() if number >= shaping.FIRST]
        assert own == Queue(1_000, 1_000_000, 131_072, 1)
    assert elements(found)["network_sent_class"] == {"guest0": "5359:401"}
    policed = {"sent": {"rate": 80_000_000, "mode": "policed"}}
    found = wanted({"networks": {"guest0": policed}, "guests": {"10.1.1.10": {"sent": RATE}}})
    assert queues(found) == {"public0": [Queue(1_000_000, 1_000_000, 131_072)]}


def test_a_public_address_waits_on_its_own_link_and_on_guests() -> None:
    found = wanted({"addresses": {"203.0.113.5": {"sent": RATE, "received": RATE}}})
    assert {link: len(each) for link, each in queues(found).items()} == {
        "guest0": 1, "guest1": 1, "public0": 1,
    }  # fmt: skip
    assert elements(found).keys() == {"queued", "address_sent_class4", "address_received_class4"}


def test_who_is_policed_has_no_queue() -> None:
    rate = {**RATE, "mode": "policed"}
    found = wanted({
        "guests": {"10.1.1.10": {"sent": rate, "received": rate}},
        "networks": {"guest1": {"sent": rate}},
        "addresses": {"203.0.113.5": {"sent": rate}},
    })  # fmt: skip
    assert queues(found) == {} and elements(found) == {}
    (table,) = [each for each in found if isinstance(each, Ruleset)]
    assert len(table.limits) == 4


def test_who_is_shaped_has_a_policer_too_where_nothing_can_wait() -> None:
    found = wanted({"guests": {"10.1.1.10": {"sent": RATE}}})
    (table,) = [each for each in found if isinstance(each, Ruleset)]
    assert list(table.elements["guest_sent4"]) == ["10.1.1.10"]
    assert "meta priority < 5359:800 limit name ip saddr map @guest_sent4 drop" in table.text


def test_a_fast_queue_has_room_for_a_late_clock() -> None:
    (queue,) = queues(wanted({"guests": {"10.1.1.10": {"received": {"rate": 8_000_000_000}}}}))["guest0"]
    assert queue.burst == 2_000_000


def test_numbers_are_each_one_s_own_and_stay() -> None:
    keys: list[tuple[str, str, shaping.Direction]] = [
        ("guests", f"10.1.{n // 250}.{n % 250}", direction)
        for n in range(8_000)
        for direction in shaping.DIRECTIONS
    ]
    before = shaping.numbers(keys)
    assert len(set(before.values())) == len(keys)
    assert min(before.values()) >= shaping.FIRST and max(before.values()) <= shaping.LAST
    after = shaping.numbers([*keys, ("guests", "10.1.99.99", "sent")])
    assert sum(after[key] != before[key] for key in keys) < 20
    assert after == shaping.numbers(reversed([*keys, ("guests", "10.1.99.99", "sent")]))


def test_networks_numbers_are_not_guests() -> None:
    assert shaping._number("guest999") + shaping.OTHERS < shaping.FIRST


def test_more_than_there_are_numbers_for() -> None:
    value = example("two-networks")
    guests = {f"10.99.{n // 250}.{1 + n % 250}": {"sent": RATE, "received": RATE} for n in range(10_001)}
    (one,) = [
        each for each in problems({**value, "limits": {"guests": guests}}) if each.pointer == "/limits"
    ]
    assert one.detail == (
        "20002 rates of guests and addresses are shaped; of more than 20000, some must be policed"
    )
