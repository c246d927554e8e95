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


def sources(**routes: str) -> list[str]:
    """What packets from guest0 may come from; those of IPv6 are left out."""
    value = example("two-networks")
    value["routes"] = {
        name: {"destination": destination, "gateway": "10.1.1.254"} for name, destination in routes.items()
    }
    text = table(value).text
    rules = text.partition("chain from_guest0 {")[2].partition("}\n")[0].splitlines()
    assert rules[-2].strip() == "drop", "nobody else"
    return [rule.split(maxsplit=2)[2] for rule in rules if rule.split()[:1] == ["ip"]]


def test_sources_on_a_guests_side() -> None:
    assert sources() == ["10.1.1.0/24 return", "0.0.0.0/32 return"]
    assert sources(a="10.9.0.0/16") == ["10.9.0.0/16 return", "10.1.1.0/24 return", "0.0.0.0/32 return"]
    assert sources(a="10.9.0.0/16", b="10.9.1.0/24") == sources(a="10.9.0.0/16")
    assert sources(a="10.8.0.0/16", b="10.10.0.0/16") == [
        "{ 0.0.0.0/32, 10.1.1.0/24, 10.8.0.0/16, 10.10.0.0/16 } return"
    ]
    assert sources(a="10.0.0.0/8") == ["10.0.0.0/8 return", "0.0.0.0/32 return"], (
        "wider than its own network"
    )
    assert sources(a="0.0.0.0/1") == ["0.0.0.0/1 return"]
    assert sources(a="0.0.0.0/1", b="128.0.0.0/1") == ["{ 0.0.0.0/0 } return"]


def test_each_link_has_one_chain_that_knows_who_is_not_behind_it() -> None:
    text = table(example("vpc")).text
    (rule,) = [line for line in text.splitlines() if "iifname vmap" in line and "from_" in line]
    assert '"guest0" : jump from_guest0' in rule and '"public0" : jump from_outside' in rule
    assert '"private0" : jump from_outside' in rule
    inside = text.partition("chain from_outside {")[2].partition("}\n")[0].split()
    assert inside[:3] == ["ip", "saddr", "10.2.2.0/24"] and inside[3] == "drop"


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
    assert found.text.count("    set ") + found.text.count("    map ") == len(found.elements)


def test_policies() -> None:
    value = example("two-networks")
    text = table(value).text
    assert text.partition("chain egress_guest0 {")[2].split()[:3] == ["jump", "egress", "accept"]
    assert text.partition("chain egress_guest1 {")[2].split()[:3] == ["jump", "egress", "drop"]
    del value["firewall"]
    assert table(value).text.partition("chain egress_guest0 {")[2].split()[:3] == ["jump", "egress", "drop"]
