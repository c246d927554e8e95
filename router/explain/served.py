"""What makes the elements of sets that say what the router itself serves, or leads on to servers."""

from collections.abc import Iterator

from appliance.address import span
from appliance.model import pointer
from router import ruleset
from router.document import RouterDocument
from router.explain.made import Made, Maker


def _listeners(document: RouterDocument) -> Iterator[Made]:
    for listener in ruleset.listeners(document):
        if not listener.at:
            continue
        version = 6 if ":" in listener.address else 4
        protocol = (listener.protocol, listener.protocol)
        box = {"destination": span(listener.address), "protocol": protocol}
        for name in ("listening", "open"):
            if listener.ports is None:
                yield Made(f"{name}_protocols{version}", box, pointer(*listener.at))
            else:
                yield Made(f"{name}_ports{version}", {**box, "port": listener.ports}, pointer(*listener.at))


def _balanced(document: RouterDocument) -> Iterator[Made]:
    """Load balancers: who may use them, and of udp where it is led. Which of its servers that is, is
    chance's or a hash's to say."""
    for name, item in document.load_balancers.items():
        protocol, version = "udp" if item.mode == "udp" else "tcp", 6 if ":" in item.address else 4
        box = {"destination": span(item.address), "port": (item.port, item.port)}
        at = ("load_balancers", name)
        for kind in ("chance", "source") if protocol == "udp" else ():
            yield Made(f"udp_{kind}{version}", box, pointer(*at))
        if item.source_cidrs:
            yield Made(f"{protocol}_limited{version}", box, pointer(*at, "source_cidrs"))


MAKERS: list[Maker] = [_listeners, _balanced]
