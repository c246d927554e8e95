"""Static routes of a router, or of a pair of them."""

from collections.abc import Iterator

from appliance.model import Problem
from appliance.validation import routes
from router.document import RouterDocument


def problems(document: RouterDocument) -> Iterator[Problem]:
    yield from routes.problems(document, paired=document.redundancy is not None)
