"""Load balancers whose servers see the client's own address: HAProxy connects from it, and what servers
answer is led back to HAProxy's socket instead of on to the client. Kernel documentation, networking/tproxy;
HAProxy's configuration manual, `source`.
"""

from collections.abc import Iterator

from appliance.memo import per_key, per_sections
from appliance.resources import Resource, Rule
from appliance.route import Route
from appliance.services.interfaces import default_route
from router.document import LoadBalancer, RouterDocument

MARK = 0x20000000
"""A bit that is in no mark of a way out, nor of L2TP's."""
_TABLE = 900
_PRIORITY = 140
"""Before what is near is found in the main table, where a client may be."""


@per_sections("load_balancers")
def is_used(document: RouterDocument) -> bool:
    return True in _transparent(document.load_balancers).values()


@per_key
def _transparent(_: str, item: LoadBalancer) -> bool:
    return item.transparent


def source(item: LoadBalancer) -> str:
    """For HAProxy; the address is that of health checks: any."""
    anywhere = "[::]" if ":" in item.address else "0.0.0.0"  # noqa: S104
    return f"{anywhere} usesrc clientip"


def resources(document: RouterDocument) -> Iterator[Resource]:
    if not is_used(document):
        return
    used = [item.address for item in document.load_balancers.values() if item.transparent]
    for version in (4, 6):
        address = next((each for each in used if (":" in each) == (version == 6)), None)
        if address is not None:
            yield Rule(priority=_PRIORITY, table=_TABLE, mark=MARK, version=version)
            yield Route(destination=default_route(address), link="lo", table=_TABLE, local=True)
