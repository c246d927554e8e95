"""`sysvm devcloud --vpc --redundant`, as a user has it: a table of checks, and a primary that is killed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.devcloud import cloud as clouds
from appliance.devcloud.vpc.failover import FLOWS
from appliance.runtime import remains
from appliance.runtime.container import Containers

Tree = Callable[[str], Path]
_ROW = re.compile(r"^ +(ok|failed) +(\S.*?) {2,}(.*)$", re.MULTILINE)


def argv(cloud: Containers, *words: str) -> list[str]:
    return [sys.executable, "-m", "appliance.cli", "devcloud", "--cloud", cloud.cloud, *words]


def sysvm(cloud: Containers, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(argv(cloud, *words), env=environment, capture_output=True, text=True)


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Of the tables: what -> its mark, and what was seen."""
    return {what: (mark, seen) for mark, what, seen in _ROW.findall(text)}


def test_a_vpc_on_a_pair_whose_primary_dies(cloud: Containers, tree: Tree) -> None:
    tree("guest")
    # Who changes his mind in the midst finds all of it again. (What a shell starts in the background, tests
    # too, is deaf to Ctrl-C.)
    begun = subprocess.Popen(
        ["env", "--default-signal=INT", *argv(cloud, "--vpc", "--redundant", "up")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    assert begun.stderr is not None
    for line in begun.stderr:
        if "r1 powered on" in line:
            os.killpg(begun.pid, signal.SIGINT)
            break
    assert "Traceback" not in begun.communicate(timeout=60)[1]
    assert begun.returncode != 0

    said = sysvm(cloud, "--vpc", "--redundant", "up")
    assert said.returncode == 0, said.stdout + said.stderr
    found = rows(said.stdout)
    assert {what: seen for what, (mark, seen) in found.items() if mark != "ok"} == {}
    assert len(found) >= 18 + len(FLOWS) + 3
    for kind in FLOWS:
        sent, answered, _, lost = found[kind.what][1].split()[:4]
        assert int(sent) > 0 < int(answered), kind.what
        assert lost == "0" or not kind.is_kept, kind.what
    assert re.search(r"killing r[12], the primary", said.stderr)
    assert "no connection was lost, no flow ended" in " ".join(said.stderr.split())

    members = clouds.status(cloud=cloud.cloud)
    assert {"r1", "r2", "web1", "web2", "db1", "office", "laptop"} <= {member.name for member in members}
    assert [member.name for member in members if not member.up] == []
    assert sysvm(cloud, "status").returncode == 0
    for other in ([], ["--vpc"]):
        refused = sysvm(cloud, *other, "up")
        assert refused.returncode == 1
        assert f"{cloud.cloud} is up as a VPC on a redundant pair, not as a" in refused.stderr
    assert sysvm(cloud, "down").returncode == 0
    assert remains.found(cloud.cloud) == []


def test_a_vpc_on_one_router(cloud: Containers, tree: Tree) -> None:
    tree("guest")
    verdicts = list(clouds.up_vpc(cloud=cloud.cloud).run())
    assert len(verdicts) >= 15
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert "r2" not in {member.name for member in clouds.status(cloud=cloud.cloud)}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--redundant"], "say --vpc --redundant"),
        (["--vpc", "--vm"], "--vpc and --vm don't go together"),
        (["--vpc", "--redundant", "--vm"], "--vpc and --vm don't go together"),
    ],
)
def test_what_makes_no_sense_is_said(cloud: Containers, words: list[str], sentence: str) -> None:
    said = sysvm(cloud, *words, "up")
    assert said.returncode == 2
    assert sentence in said.stderr
    assert remains.found(cloud.cloud) == []
