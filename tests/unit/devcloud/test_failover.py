"""What is made of a flow's own words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.devcloud.vpc import echo, flow
from appliance.devcloud.vpc.failover import FLOWS, judged

STREAM, DATAGRAMS = FLOWS[0], FLOWS[1]


def test_a_flow_that_lost_nothing() -> None:
    messages = [[10.0, 10.01], [10.02, 10.5], [10.04, 10.5], [10.52, 10.53]]
    found = judged(STREAM, {"messages": messages, "broken": ""})
    assert (found.sent, found.answered, found.late, found.lost, found.ok) == (4, 4, 2, 0, True)
    assert found.silence == pytest.approx(0.49)


def test_a_datagram_in_the_gap_is_no_broken_flow_and_a_lost_line_is_one() -> None:
    messages = [[10.0, 10.01], [10.02, None], [10.52, 10.53]]
    assert judged(DATAGRAMS, {"messages": messages, "broken": ""}).ok
    assert not judged(STREAM, {"messages": messages, "broken": ""}).ok
    assert not judged(DATAGRAMS, {"messages": [[10.0, None]], "broken": ""}).ok
    assert not judged(STREAM, {"messages": [[10.0, 10.1]], "broken": "Connection reset"}).ok
    assert not judged(STREAM, {"messages": [], "broken": ""}).ok


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_real_flow(kind: str) -> None:
    server = subprocess.Popen([sys.executable, str(Path(echo.__file__)), "40007"])
    try:
        argv = [sys.executable, str(Path(flow.__file__)), kind, "127.0.0.1", "40007", "0.5", "0.02"]
        for _ in range(50):
            said = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
            if not said["broken"] and any(at for _, at in said["messages"]):
                break
        messages = said["messages"]
        assert messages and all(at >= sent for sent, at in messages if at is not None)
    finally:
        server.kill()
        server.wait()
    gone = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert not any(at for _, at in gone["messages"])
    assert (kind == "tcp") == bool(gone["broken"])
