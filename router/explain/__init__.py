"""Which line of the document a rule's verdict about a packet comes from.

Rules look packets up in sets, whose elements are made of the document's items: `sets`, `tunnels` and
`served` have what makes them. Other rules are the document's by their chain (`chains`), and a route by where
it leads (`ways`).
"""

from collections.abc import Sequence

from appliance.agent.explanation import ROUTE, Stage
from router.document import RouterDocument
from router.explain import chains, served, sets, tunnels, ways
from router.explain.made import Maker, holds, named

MAKERS: list[Maker] = [*sets.MAKERS, *tunnels.MAKERS, *served.MAKERS]
"""A service whose sets are its own adds what makes their elements."""


def origins(document: RouterDocument, stage: Stage) -> Sequence[str]:
    """The places in the document (RFC 6901) that a verdict comes from, in the order of their names."""
    if stage.chain == ROUTE:
        return list(ways.origins(document, stage))
    names = named(stage.rule)
    found = {
        made.pointer
        for make in MAKERS
        for made in make(document)
        if made.set in names and holds(made.box, stage)
    }
    # The items of an object have no order, and what is made per item hasn't either.
    return sorted(found) or list(chains.origins(document, stage))
