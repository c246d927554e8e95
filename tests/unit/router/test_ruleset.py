"""The structure of the packet filter: few rules, and which ones."""

from typing import Any

from appliance.resources import Ruleset
from router import ruleset
from tests.examples import document, example, read


def table(value: Any) -> Ruleset:
    (found,) = [
        item
        for item in ruleset.resources(read(value))
        if isinstance(item, Ruleset) and item.table == "sysvm"
    ]
    return found


def spoofed(**routes: str) -> str:
    value = example("two-networks")
    value["routes"] = {
        name: {"destination": destination, "gateway": "10.1.1.254"} for name, destination in routes.items()
    }
    text = table(value).text
    line = next(line for line in text.splitlines() if 'iifname "guest0" ip saddr !=' in line)
    return line.partition("{ ")[2].partition(" }")[0]


def test_sources_on_a_guests_side() -> None:
    assert spoofed() == "0.0.0.0/32, 10.1.1.0/24"
    assert spoofed(a="10.9.0.0/16") == "0.0.0.0/32, 10.1.1.0/24, 10.9.0.0/16"
    assert spoofed(a="10.9.0.0/16", b="10.9.1.0/24") == "0.0.0.0/32, 10.1.1.0/24, 10.9.0.0/16"
    assert spoofed(a="10.0.0.0/8") == "0.0.0.0/32, 10.0.0.0/8", "wider than the link's own network"
    assert spoofed(a="0.0.0.0/1") == "0.0.0.0/1"


def test_structure_knows_nothing_of_what_grows() -> None:
    value = example("everything")
    structure = table(value).text
    value["port_forwards"], value["static_nat"] = {}, {}
    value["firewall"]["ingress"]["rules"], value["source_nat"] = {}, {}
    assert table(value).text == structure


def test_all_sets_are_named_even_if_empty() -> None:
    (found,) = [item for item in ruleset.resources(document("minimal")) if isinstance(item, Ruleset)]
    for name, elements in found.elements.items():
        assert not elements
        assert f" {name} {{" in found.text
    # Two are the engine's to fill.
    assert found.text.count("    set ") + found.text.count("    map ") == len(found.elements) + 2
    assert all(f"    set {name} {{" in found.text and name not in found.elements for name in found.ended)


def test_policies() -> None:
    value = example("two-networks")
    text = table(value).text
    assert text.partition("chain egress_guest0 {")[2].split()[:3] == ["jump", "egress", "accept"]
    assert text.partition("chain egress_guest1 {")[2].split()[:3] == ["jump", "egress", "drop"]
    del value["firewall"]
    assert table(value).text.partition("chain egress_guest0 {")[2].split()[:3] == ["jump", "egress", "drop"]
