"""A virtual machine of a test's own: emulated, on user-mode networking, with its console in a file."""

import base64
import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from appliance.boot import ControlInterface
from appliance.management.authority import Authority, boot_json
from appliance.management.client import Agent, AgentError, Status

MAC = "02:00:00:00:00:0f"
ADDRESS = "10.0.2.15"
OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
# Without cx16: with it, QEMU 7.2 makes Debian 13's kernel double-fault at random.
ACCELERATION = ("-accel", "tcg", "-cpu", "max,-cx16")
GUEST_AGENT = "org.qemu.guest_agent.0"
PATIENCE = 300.0
"""Seconds until a boot is given up: an emulated one takes 20 on a machine that has nothing else to do."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def ask(stream: TextIO, command: str, **arguments: Any) -> Any:
    """A command of QEMU's protocols, and its answer; events are passed over."""
    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    stream.flush()
    while "return" not in (answer := json.loads(stream.readline())):
        assert "error" not in answer, answer
    return answer["return"]


@dataclass
class Emulated:
    directory: Path
    disk: Path
    """An image; what the machine writes goes into an overlay in `directory`."""
    name: str = "r1"
    size: str | None = None
    """Of the disk, if not the image's."""
    port: int = field(default_factory=free_port)
    ssh_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    boots: int = 0

    def __post_init__(self) -> None:
        self.authority = Authority.open(self.directory / "authority")
        control = ControlInterface(mac=MAC, address=f"{ADDRESS}/24")
        self.boot: dict[str, Any] = json.loads(boot_json(self.authority.boot(self.name, "router", control)))
        self.overlay = self.directory / f"{self.name}.qcow2"
        backing = ("-F", "raw" if self.disk.suffix == ".raw" else self.disk.suffix[1:], "-b", self.disk)
        create: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", *backing, self.overlay]
        subprocess.run([*create, *([self.size] if self.size else [])], check=True)

    @property
    def boot_file(self) -> Path:
        """The boot data as it is now."""
        path = self.directory / "sysvm.boot"
        path.write_text(json.dumps(self.boot))
        return path

    # --- power --------------------------------------------------------------------------------------

    def start(
        self,
        *arguments: str | Path,
        smbios: bool = True,
        uefi: bool = False,
        bus: str = "virtio",
        card: str = "virtio-net-pci",
        files: Sequence[int] = (),
    ) -> None:
        """Switch on, with boot data as an SMBIOS OEM string unless told otherwise. QEMU inherits `files`."""
        self.boots += 1
        argv: list[str | Path] = ["qemu-system-x86_64", *ACCELERATION, "-machine", "q35"]
        # One processor: with more, emulated by threads, one now and then meets the breakpoint that another
        # has just patched away, and the kernel panics.
        argv += ["-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]
        argv += ["-serial", f"file:{self.console_file}"]
        argv += ["-qmp", f"unix:{self.directory / 'qmp'},server=on,wait=off"]
        argv += ["-drive", f"file={self.overlay},if=none,id=disk", *self._disk_device(bus)]
        argv += ["-device", "virtio-serial", "-device", f"virtserialport,chardev=ga,name={GUEST_AGENT}"]
        argv += ["-chardev", f"socket,id=ga,path={self.directory / 'ga'},server=on,wait=off"]
        forward = f"hostfwd=tcp:127.0.0.1:{self.port}-{ADDRESS}:8443"
        forward += f",hostfwd=tcp:127.0.0.1:{self.ssh_port}-{ADDRESS}:22"
        argv += ["-netdev", f"user,id=control,restrict=on,{forward}"]
        argv += ["-device", f"{card},netdev=control,mac={MAC},romfile="]
        if smbios:
            string = self.directory / "oem-string"
            encoded = base64.b64encode(self.boot_file.read_bytes()).decode()
            string.write_text(f"io.systemd.credential.binary:sysvm.boot={encoded}")
            argv += ["-smbios", f"type=11,path={string}"]
        if uefi:
            variables = self.directory / "variables.fd"
            variables.write_bytes(OVMF_VARIABLES.read_bytes())
            argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}"]
            argv += ["-drive", f"if=pflash,format=raw,file={variables}"]
        self.process = subprocess.Popen([*argv, *arguments], stdin=subprocess.DEVNULL, pass_fds=files)

    def _disk_device(self, bus: str) -> Sequence[str]:
        match bus:
            case "virtio":
                return ("-device", "virtio-blk-pci,drive=disk")
            case "ahci":
                return ("-device", "ide-hd,drive=disk")
            case "scsi":
                return ("-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk")
            case "vmware":
                return ("-device", "pvscsi", "-device", "scsi-hd,drive=disk")
            case _:
                return ("-device", f"{bus},drive=disk")

    def cut_power(self) -> None:
        """The machine stops between two instructions; what its disk has is what it has."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def power_button(self) -> None:
        self.monitor("system_powerdown")
        assert self.process is not None
        self.process.wait(timeout=PATIENCE)
        self.process = None

    def monitor(self, command: str, **arguments: Any) -> Any:
        """A command of QEMU's machine protocol, and its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.directory / "qmp"))
            stream = connection.makefile("rw")
            stream.readline()
            ask(stream, "qmp_capabilities")
            return ask(stream, command, **arguments)

    def run(self, *argv: str, patience: float = PATIENCE) -> str:
        """What a program in the machine prints, run by QEMU's guest agent; it must succeed."""
        deadline = time.monotonic() + patience
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience)
            connection.connect(str(self.directory / "ga"))
            stream = connection.makefile("rw")
            # Answers to questions of earlier connections may still come.
            mark = time.monotonic_ns() & 0x7FFFFFFF
            stream.write(json.dumps({"execute": "guest-sync", "arguments": {"id": mark}}) + "\n")
            stream.flush()
            while json.loads(stream.readline()).get("return") != mark:
                pass
            words = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
            process = ask(stream, "guest-exec", **words)["pid"]
            while not (ended := ask(stream, "guest-exec-status", pid=process))["exited"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        printed = {key: base64.b64decode(ended.get(key, "")).decode() for key in ("out-data", "err-data")}
        assert ended.get("exitcode") == 0, (argv, printed)
        return printed["out-data"]

    # --- what it says -------------------------------------------------------------------------------

    @property
    def console_file(self) -> Path:
        return self.directory / f"console-{self.boots}"

    @property
    def console(self) -> str:
        try:
            return self.console_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for(self, text: str, *, patience: float = PATIENCE) -> None:
        """Until the console has shown this."""
        deadline = time.monotonic() + patience
        while text not in self.console:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.console[-3000:]}"
            self.assert_running()
            time.sleep(0.2)

    def assert_running(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, f"QEMU ended; the console said:\n{self.console[-3000:]}"

    def agent(self) -> Agent:
        context = self.authority.client_context()
        return Agent(name=self.name, host="127.0.0.1", port=self.port, context=context)

    def wait_until_it_answers(self, *, patience: float = PATIENCE) -> Status:
        """The status of the agent, once it serves the API."""
        deadline = time.monotonic() + patience
        while True:
            self.assert_running()
            with contextlib.suppress(AgentError), self.agent() as agent:
                return agent.status()
            assert time.monotonic() < deadline, f"no answer; the console:\n{self.console[-3000:]}"
            time.sleep(0.5)
