"""pyroute2's IPRoute without the rest of pyroute2.

The package's own `__init__` imports two hundred modules: databases of links with sqlite, Plan 9, fixtures
of tests. They would take 6 MB of every agent, and a tenth of a second of its boot. So an empty package
stands in while the one module is imported, and goes again: who imports pyroute2 later gets all of it.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def bare(name: str) -> Iterator[None]:
    found = importlib.util.find_spec(name)
    if name in sys.modules or found is None:
        yield
        return
    package = ModuleType(name)
    package.__path__ = list(found.submodule_search_locations or ())
    sys.modules[name] = package
    try:
        yield
    finally:
        del sys.modules[name]


with bare("pyroute2"):
    from pyroute2.iproute import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["IPRoute", "NetlinkError", "bare"]
