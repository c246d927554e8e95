"""What libraries import and an agent never uses is left out: a quarter of its start, and 6 MB of memory.

In place of each of these modules is an empty one. Every name in it is a class, so that importing it,
inheriting from it and catching it go well; it does nothing. A client that speaks HTTP/2 or asks for a
websocket, which isn't offered, loses its connection.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OMITTED = frozenset(
    {
        # Flask's commands, development server and test client.
        *("click", "flask.cli", "werkzeug.serving", "werkzeug.test"),
        # Hypercorn's HTTP/2 and websockets.
        *("h2", "h2.config", "h2.connection", "h2.errors", "h2.events", "h2.exceptions", "h2.settings"),
        *("hpack", "priority"),
        *("wsproto", "wsproto.connection", "wsproto.events", "wsproto.extensions"),
        *("wsproto.frame_protocol", "wsproto.handshake", "wsproto.utilities"),
        # Its files of settings, and its further processes, which pyroute2 offers, too.
        *("logging.config", "multiprocessing", "multiprocessing.synchronize", "tomllib"),
        # pyroute2's traffic control, and the kernel it plays for tests, and with what.
        *("pyroute2.iproute.ipmock", "pyroute2.netlink.rtnl.tcmsg", "unittest", "unittest.mock"),
    }
)


class _Omitted(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in OMITTED:
            return import_module(f"{self.__name__}.{name}")
        found: Any = type(name, (Exception,), {})
        setattr(self, name, found)
        return found


class _Finder:
    """For sys.meta_path; and what it finds, it loads."""

    # Without the base classes of importlib.abc, which is itself slow to import.

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name in OMITTED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Omitted(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def leave_out() -> None:
    """From now on, in this process."""
    sys.meta_path.insert(0, _Finder())
