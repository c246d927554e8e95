"""Plain ends of a segment: a namespace with one configured interface, no machine around it."""

from collections.abc import Sequence

from appliance.runtime import namespace
from appliance.runtime.naming import full_name
from appliance.runtime.runtime import Interface
from appliance.runtime.segment import Switch


def up(
    cloud: str,
    name: str,
    *,
    interface: Interface,
    link: str,
    addresses: Sequence[str],
    local: Sequence[str] = (),
) -> None:
    """Have the namespace `name` on a segment, its link with these addresses (CIDR), and the `local` ones on
    its loopback. One that is there already stays."""
    full = full_name(cloud, name)
    if namespace.exists(full):
        return
    namespace.create(full)
    Switch(cloud).plug(interface, into=full, name=link)
    with namespace.opened(full) as links:
        index = links.link_lookup(ifname=link)[0]
        for address, place in [
            *((each, index) for each in addresses),
            *((f"{each}/32", 1) for each in local),
        ]:
            text, _, length = address.partition("/")
            links.addr("add", index=place, address=text, prefixlen=int(length))
        links.link("set", index=index, state="up")
