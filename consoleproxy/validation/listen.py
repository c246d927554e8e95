"""Where browsers find the proxy."""

from collections.abc import Iterator

from appliance.model import Problem, pointer
from consoleproxy.document import ConsoleproxyDocument


def problems(document: ConsoleproxyDocument) -> Iterator[Problem]:
    own = {
        address.partition("/")[0]
        for interface in document.interfaces.values()
        for address in interface.addresses
    }
    seen: dict[tuple[str, int], str] = {}
    for name, listen in document.listen.items():
        at = ("listen", name)
        if listen.address not in own:
            yield Problem(
                pointer(*at, "address"), f"Listener {name}: {listen.address} is no interface's address"
            )
        if listen.tls and document.default_certificate is None:
            yield Problem(
                pointer(*at, "tls"),
                f"Listener {name}: TLS needs a default_certificate; without, say tls: false",
            )
        if other := seen.get((listen.address, listen.port)):
            yield Problem(pointer(*at, "port"), f"Listener {name}: its address and port are {other}'s, too")
        seen[listen.address, listen.port] = name
