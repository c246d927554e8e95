"""Application level gateways: a connection has one at most."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from router import alg
from router.document import RouterDocument


def problems(document: RouterDocument) -> Iterator[Problem]:
    taken: dict[tuple[str, int], str] = {}
    for name, item in sorted(document.alg.items()):
        for port in alg.ports(name, item):
            for protocol in alg.KINDS[name].protocols:
                other = taken.setdefault((protocol, port), name)
                if other != name:
                    yield Problem(
                        pointer("alg", name, "ports"),
                        f"ALG {name}: connections to port {port}/{protocol} have that of {other} already",
                    )
