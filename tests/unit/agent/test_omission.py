"""An agent starts without what its libraries import for others."""

import importlib.util
import subprocess
import sys

import pytest

from appliance.agent.omission import OMITTED

START = """
import sys
from appliance.agent import omission
omission.leave_out()
from appliance.agent import api, daemon, server
from router import role
print(*(name for name, module in sys.modules.items() if getattr(module, "__file__", None)))
"""
LATER = {"dns", "http.client"}
"""For probes: they are imported with the first."""


def test_none_of_it_is_loaded() -> None:
    started = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    loaded = set(started.stdout.split())
    assert {"flask", "hypercorn.asyncio", "pyroute2.iproute", "appliance.agent.daemon"} <= loaded
    packages = {name for name in OMITTED if "." not in name}
    assert [name for name in loaded if name in OMITTED or name.partition(".")[0] in packages] == []
    assert loaded & LATER == set()


@pytest.mark.parametrize("name", sorted(OMITTED))
def test_a_module_that_libraries_renamed_is_missed(name: str) -> None:
    assert importlib.util.find_spec(name) is not None
