"""What each rule of the document has decided about, as the kernel counted it."""

from appliance.document import Document
from appliance.engine.host import Host
from appliance.engine.ruleset import counted
from appliance.roles import role


def hits(document: Document, host: Host) -> dict[str, dict[str, int]]:
    """Packets and bytes by the rule's JSON pointer, since the rule came or the appliance booted. Packets of
    established connections meet no rule. What several rules are about counts for each of them."""
    places = role(document.role).counted(document)
    rules = sorted({rule for several in places.values() for rule in several})
    totals = {rule: {"packets": 0, "bytes": 0} for rule in rules}
    for table in {table for table, _, _ in places}:
        for (name, element), count in counted(table, host).items():
            for rule in places.get((table, name, element), ()):
                totals[rule]["packets"] += count.packets
                totals[rule]["bytes"] += count.bytes
    return totals
