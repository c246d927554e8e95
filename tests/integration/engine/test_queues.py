"""Received packets are spread over the processors: a real link's files, in a sysfs of the test's own."""

import os
import subprocess
import sys

import pytest

from appliance.engine.queues import _text

SCRIPT = """
import subprocess, sys
from pathlib import Path
from appliance.engine import plan as planning, queues
from appliance.engine.host import Host
from appliance.engine.transaction import converge
from appliance.resources import ReceiveQueues

subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
subprocess.run(["ip", "link", "add", "guest0", "type", "veth", "peer", "name", "far"], check=True)
many = ["numrxqueues", sys.argv[2], "numtxqueues", sys.argv[2]]
subprocess.run(["ip", "link", "add", "guest1", *many, "type", "veth", "peer", "name", "other"], check=True)
wanted = [ReceiveQueues(link=name) for name in ("guest0", "guest1", "guest7")]
host = Host(generated=Path(sys.argv[1]))

def masks(link):
    return {path.read_text().strip() for path in Path(f"/sys/class/net/{link}/queues").glob("rx-*/rps_cpus")}

before = masks("guest0")
print(*[change.detail for change in converge(wanted, host).plan.changes], sep=";")
print(before, masks("guest0"), masks("guest1"), planning.make(wanted, host, fresh=True).changes)
Path("/sys/class/net/guest1/queues/rx-0/rps_cpus").write_text("1")
print(*[change.detail for change in planning.make(wanted, host, fresh=True).changes])
"""


@pytest.mark.skipif(os.cpu_count() == 1, reason="there is but one processor to spread over")
def test_over_all_processors_where_the_card_does_not(tmp_path: object) -> None:
    count = os.cpu_count() or 1
    argv = ["unshare", "--net", "--mount", sys.executable, "-c", SCRIPT, str(tmp_path), str(count)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    changes, seen, undone = done.stdout.splitlines()
    assert changes == f"spread over {count} processors"
    assert seen == f"{ {'0'} } { {f'{(1 << count) - 1:x}'} } { {'0'} } ()"
    assert undone == "by the card's own queues"


def test_masks_of_many_processors() -> None:
    assert _text(0) == "0"
    assert _text((1 << 32) - 1) == "ffffffff"
    assert _text((1 << 33) - 1) == "1,ffffffff"
    assert _text(1 << 64) == "1,00000000,00000000"
