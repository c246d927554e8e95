"""What each rule of the document has decided about, as the kernel counted it."""

from appliance.document import Document
from appliance.engine.host import Host
from appliance.engine.ruleset import counted
from appliance.roles import role


def hits(document: Document, host: Host) -> dict[str, dict[str, int]]:
    """Packets and bytes by the rule's JSON pointer, since the rule came or the appliance booted. Packets of
    established connections meet no rule."""
    places = role(document.role).counted(document)
    totals = {place: {"packets": 0, "bytes": 0} for place in sorted(set(places.values()))}
    for table in {table for table, _, _ in places}:
        for (name, element), count in counted(table, host).items():
            total = totals.get(places.get((table, name, element), ""))
            if total is not None:
                total["packets"] += count.packets
                total["bytes"] += count.bytes
    return totals
