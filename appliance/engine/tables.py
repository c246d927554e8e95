"""Which nft tables there are, and which a kernel can have."""

from appliance.engine import drivers
from appliance.engine.host import Host
from appliance.resources import Ruleset

_NAMES = "nft tables"


def possible(ruleset: Ruleset, host: Host) -> bool:
    """Whether the kernel has what the table is about; what of it has to be loaded is, then."""
    if ruleset.required and not host.nft.has(ruleset.required):
        return False
    for module in ruleset.modules:
        drivers.load(module)
    return True


def existing(host: Host) -> frozenset[str]:
    """All `inet` tables, whosever they are; as last seen, for as long as nobody has committed anything."""
    generation = host.nft.generation()
    kept: tuple[int, frozenset[str]] | None = host.seen.get(_NAMES)
    if kept is None or kept[0] != generation:
        listing = host.nft.listing("tables inet")
        names = frozenset(item["table"]["name"] for item in listing if "table" in item)
        kept = host.seen[_NAMES] = generation, names
    return kept[1]
