"""UDP checksums filled in, through a chain of our own of the legacy mangle table."""

import subprocess
import sys

import pytest

from appliance.engine.host import Host
from appliance.engine.plan import make
from appliance.engine.transaction import converge
from appliance.resources import ChecksumFill

# In a process of its own: a library that fails to load may take its process along.
_PROBE = "from appliance.engine.checksum import available; raise SystemExit(not available())"


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    if subprocess.run([sys.executable, "-c", _PROBE], capture_output=True).returncode:
        pytest.skip("python-iptables, its libraries or the kernel's mangle table are not there")


def test_filled_in_where_wanted(host: Host) -> None:
    first = ChecksumFill(link="guest0", source="10.1.1.1")
    second = ChecksumFill(link="guest1", source="10.1.2.1")
    for wanted in ([first], [first, second], [second], []):
        assert len(converge(wanted, host).plan.changes) == 1
        assert make(wanted, host, fresh=True).changes == ()


def test_without_it_nothing_is_planned(host: Host) -> None:
    host.seen["checksum"] = False
    assert make([ChecksumFill(link="guest0", source="10.1.1.1")], host).changes == ()
