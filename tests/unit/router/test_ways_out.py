"""Several public interfaces, each a way out."""

from appliance.resources import Rule
from appliance.route import Route
from router import ways_out
from tests.examples import document


def test_one_way_out_needs_nothing() -> None:
    made = document("two-networks")
    assert not ways_out.ways_out(made) and not list(ways_out.resources(made))
    assert not any(ways_out.elements(made).values())


def test_tables_and_rules() -> None:
    found = list(ways_out.resources(document("everything")))
    routes = [item for item in found if isinstance(item, Route)]
    assert [(item.destination, item.gateway, item.link, item.table) for item in routes] == [
        ("0.0.0.0/0", "203.0.113.1", "public0", 1000),
        ("::/0", "2001:db8::1", "public0", 1000),
        ("0.0.0.0/0", "192.0.2.1", "public1", 1001),
    ]
    rules = [item for item in found if isinstance(item, Rule)]
    assert [(rule.priority, rule.version) for rule in rules if rule.suppress_prefix_length == 0] == [
        (150, 4), (150, 6),
    ]  # fmt: skip
    assert {(rule.mark, rule.table) for rule in rules if rule.mark} == {(1000, 1000), (1001, 1001)}
    assert {(rule.source, rule.table) for rule in rules if rule.source} == {
        ("203.0.113.5/32", 1000), ("203.0.113.6/32", 1000), ("203.0.113.7/32", 1000),
        ("2001:db8::5/128", 1000), ("192.0.2.5/32", 1001), ("192.0.2.6/32", 1001),
    }  # fmt: skip


def test_guests_go_out_by_the_interface_of_their_address() -> None:
    assert ways_out.elements(document("everything")) == {
        "way_out": {"10.1.1.0/24": "1000", "10.1.16.0/20": "1000", "10.2.1.0/24": "1001"},
        "way_out_static": {"10.1.1.11": "1000", "10.2.2.10": "1001"},
    }
