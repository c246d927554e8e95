"""Answers that are refused for a while, because their connection was ended (`Ruleset.ended`): they outlive a
change of the table's structure, with the time that they have left."""

from collections.abc import Iterator
from typing import Any

from appliance.engine.elements import element
from appliance.engine.host import Host
from appliance.resources import Ruleset

_LEAST_SECONDS = 2


def commands(ruleset: Ruleset, host: Host) -> str:
    """What fills the sets of a new table as those of the present one are."""
    return "".join(
        f"add element inet {ruleset.table} {name} {{ {', '.join(refused)} }}\n"
        for name in ruleset.ended
        if (refused := list(_refused(host.nft.listing(f"set inet {ruleset.table} {name}"))))
    )


def _refused(listing: list[dict[str, Any]]) -> Iterator[str]:
    for item in listing:
        for listed in item.get("set", {}).get("elem", []):
            left = listed.get("elem", {}).get("expires", 0) if isinstance(listed, dict) else 0
            # What ends while the table is loaded isn't worth it.
            if left >= _LEAST_SECONDS:
                yield f"{element(listed)[0]} timeout {left}s"
