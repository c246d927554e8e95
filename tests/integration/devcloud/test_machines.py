"""`sysvm machine`: an appliance of the management plane as a machine, by its commands alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.devcloud import end, plane
from appliance.devcloud.layout import CONTROL_SEGMENT, MANAGEMENT, MANAGEMENT_ADDRESS, MANAGEMENT_MAC
from appliance.runtime.container import Containers
from appliance.runtime.runtime import Interface

CONTROL_MAC = "02:00:a9:fe:03:0a"
GUEST_MAC = "02:00:0a:01:01:01"
Commands = Callable[..., str]


@pytest.fixture
def command(cloud: Containers) -> Iterator[Commands]:
    """Runs `sysvm`, against a management plane of the cloud's own."""
    cloud.switch.up([CONTROL_SEGMENT, "guest0"])
    management = Interface(segment=CONTROL_SEGMENT, mac=MANAGEMENT_MAC)
    end.up(
        cloud.cloud,
        MANAGEMENT,
        interface=management,
        link="control0",
        addresses=[f"{MANAGEMENT_ADDRESS}/24"],
    )
    plane.up(cloud.cloud)

    def run(*words: str, code: int = 0, given: str | None = None) -> str:
        said = subprocess.run(
            [sys.executable, "-m", "appliance.cli", *words],
            env={**os.environ, **plane.environment(cloud.cloud), "COLUMNS": "200"},
            input=given,
            capture_output=True,
            text=True,
        )
        assert said.returncode == code, said
        return said.stdout + said.stderr

    yield run


def test_an_appliance_is_placed_started_changed_and_destroyed(
    cloud: Containers, command: Commands, tree: Callable[[str], Path], tmp_path: Path
) -> None:
    control = ["--control-mac", CONTROL_MAC, "--control-address", "169.254.3.10/24"]
    command("appliance", "create", "r1", *control, "-o", str(tmp_path / "boot"))
    assert "sysvm machine place r1" in command("machine", "start", "r1", code=1)
    placed = ["machine", "place", "r1", "--host", "containers", "--cloud", cloud.cloud]
    image = ["--image", str(tree("router"))]
    assert "/interfaces/0/mac" in command(*placed, *image, "--interface", "nonsense", code=1)
    assert "does not exist" in command(*placed, "--image", "/nowhere", "--interface", "x=y", code=2)
    command(*placed, *image, "--interface", f"{CONTROL_MAC}={CONTROL_SEGMENT}")
    assert "off" in command("machine", "status", "r1", code=1)
    command("machine", "start", "r1", "--wait", "60")
    assert "running" in command("machine", "status", "r1")
    assert "runs already" in command("machine", "start", "r1", code=1)

    document = {"interfaces": {"guest0": {"mac": GUEST_MAC, "addresses": ["10.1.1.1/24"]}}}
    command("machine", "attach", "r1", f"{GUEST_MAC}=guest0")
    assert "has an interface" in command("machine", "attach", "r1", f"{GUEST_MAC}=guest0", code=1)
    assert "no segment" in command("machine", "attach", "r1", "02:00:00:00:00:99=nowhere", code=1)
    command("appliance", "push", "r1", "-", "--wait", given=json.dumps(document))
    assert "10.1.1.1/24" in cloud.run("r1", ["ip", "-br", "address", "show", "guest0"]).stdout

    # What it is given while it runs it has after a power cut, too; and what it keeps.
    command("machine", "kill", "r1")
    command("machine", "start", "r1", "--wait", "60")
    assert "10.1.1.1/24" in cloud.run("r1", ["ip", "-br", "address", "show", "guest0"]).stdout
    command("appliance", "push", "r1", "-", "--wait", given="{}")
    command("machine", "detach", "r1", GUEST_MAC)
    assert GUEST_MAC not in cloud.run("r1", ["ip", "link"]).stdout
    command("machine", "stop", "r1")
    command("machine", "destroy", "r1", "--yes")
    assert not cloud.status("r1").running
