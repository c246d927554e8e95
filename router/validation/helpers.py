"""Connection tracking helpers: a connection has one at most."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router import helpers
from router.document import RouterDocument


def problems(document: RouterDocument) -> Iterator[Problem]:
    taken: dict[tuple[str, int], str] = {}
    for name, helper in sorted(document.helpers.items()):
        for port in helpers.ports(name, helper):
            for protocol in helpers.KINDS[name].protocols:
                other = taken.setdefault((protocol, port), name)
                if other != name:
                    yield Problem(
                        pointer("helpers", name, "ports"),
                        f"Helper {name}: connections to port {port}/{protocol} have that of {other} already",
                    )
