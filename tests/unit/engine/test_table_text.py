"""What has to be changed of a table whose text changes in part, and when it has to be made anew."""

import pytest

from appliance.engine import table_text
from appliance.resources import Ruleset
from router import ruleset
from tests.examples import NAMES, document

TEXT = """table inet sysvm {
    # Who.
    set ports { type inet_service; }
    map targets {
        type ipv4_addr : verdict
        flags interval
    }
    chain input {
        type filter hook input priority filter; policy accept;
        tcp dport @ports accept
        ip saddr vmap @targets
    }
    chain logged {
        log prefix "a { b" drop
    }
}
"""


def patched(*replaced: tuple[str, str]) -> table_text.Patch | None:
    text = TEXT
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return table_text.patch(TEXT, text)


def test_a_chain_more_and_who_leads_there() -> None:
    more = "    chain more {\n        drop\n    }\n}\n"
    found = patched(("ip saddr vmap @targets", "jump more"), ("drop\n    }\n}\n", "drop\n    }\n" + more))
    assert found is not None
    assert found.flushed == ("input",) and found.sets_gone == () and found.chains_gone == ()
    assert list(found.made) == [("chain", "input"), ("chain", "more")]
    text = found.commands("sysvm", going="GOING\n", coming="COMING\n")
    places = [
        text.index(part) for part in ("flush chain inet sysvm input", "GOING", "chain more {", "COMING")
    ]
    assert places == sorted(places)


def test_what_goes_is_left_before_and_deleted_after() -> None:
    found = patched(
        ("        ip saddr vmap @targets\n", ""),
        ("    map targets {\n        type ipv4_addr : verdict\n        flags interval\n    }\n", ""),
        ('    chain logged {\n        log prefix "a { b" drop\n    }\n', ""),
    )
    assert found is not None
    text = found.commands("sysvm", going="", coming="")
    parts = (
        "flush chain inet sysvm input",
        "flush chain inet sysvm logged",
        "delete map inet sysvm targets",
        "chain input {",
        "delete chain inet sysvm logged",
    )
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)


@pytest.mark.parametrize(
    "replaced",
    [
        ("policy accept", "policy drop"),
        ("priority filter", "priority filter - 1"),
        ("type inet_service;", "type inet_proto;"),
        ("# Who.", "# Nobody."),
        (
            "    chain logged {",
            "    chain other { type filter hook output priority 0; }\n    chain logged {",
        ),
        ("    set ports {", "    counter ports {"),
    ],
)
def test_the_rest_makes_the_table_anew(replaced: tuple[str, str]) -> None:
    assert patched(replaced) is None


@pytest.mark.parametrize("name", NAMES)
def test_our_own_tables_are_understood(name: str) -> None:
    for table in ruleset.resources(document(name)):
        if isinstance(table, Ruleset):
            found = table_text.parts(table.text)
            assert found is not None
            lines = {line.strip() for text in found.values() for line in text.splitlines()}
            for line in map(str.strip, table.text.splitlines()):
                assert line in lines or not line or line.startswith(("#", "table ", "}"))
