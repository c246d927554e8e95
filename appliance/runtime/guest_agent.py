"""Commands in a virtual machine, by QEMU's guest agent: https://qemu.readthedocs.io/en/latest/interop/qemu-ga-ref.html."""

import base64
import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from appliance.runtime.binding import libvirt, libvirt_qemu
from appliance.runtime.hypervisor import parsed

_ANSWER_SECONDS = 30
_POLL = 0.05
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def answers(domain: Any, *, seconds: int = 2) -> bool:
    """Whether there is an agent and it answers in time."""
    try:
        # libvirt hears of it when an agent opens its end; to ask before that is an error in its log.
        agents = parsed(domain.XMLDesc()).iterfind("devices/channel/target")
        if not any(agent.get("state") == "connected" for agent in agents):
            return False
        _ask(domain, "guest-ping", seconds=seconds)
    except libvirt.libvirtError:
        return False
    return True


def run(
    domain: Any, argv: Sequence[str], *, stdin: str | None, timeout: float | None
) -> subprocess.CompletedProcess[str]:
    """Run a command as root. Raises subprocess.TimeoutExpired, after which it goes on running, and
    libvirt.libvirtError where there is no agent."""
    deadline = None if timeout is None else time.monotonic() + timeout
    # The agent looks its program up in a PATH of its own.
    words: dict[str, Any] = {
        "path": "/usr/bin/env",
        "arg": [_PATH, "LANG=C.UTF-8", *argv],
        "capture-output": True,
    }
    if stdin is not None:
        words["input-data"] = base64.b64encode(stdin.encode()).decode()
    process = _ask(domain, "guest-exec", **words)["pid"]
    pause = _POLL
    while not (ended := _ask(domain, "guest-exec-status", pid=process))["exited"]:
        if deadline is not None and time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(list(argv), timeout or 0)
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)
    # A shell says of a command that a signal ended 128 and its number.
    status = ended.get("exitcode", 128 + ended.get("signal", 0))
    printed = _text(ended, "out-data"), _text(ended, "err-data")
    return subprocess.CompletedProcess(list(argv), status, *printed)


def _ask(domain: Any, command: str, *, seconds: int = _ANSWER_SECONDS, **arguments: Any) -> Any:
    text = json.dumps({"execute": command, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, seconds, 0))["return"]


def _text(ended: dict[str, Any], key: str) -> str:
    return base64.b64decode(ended.get(key, "")).decode(errors="replace")
