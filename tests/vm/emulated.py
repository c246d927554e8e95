"""A virtual machine of a test's own: emulated, on user-mode networking, with its console in a file."""

import base64
import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
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
PATIENCE = 480.0
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


def blank_state(directory: Path) -> Path:
    """A disk for a machine's state, with nothing on it."""
    path = directory / "state.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "128M"], check=True)
    return path


def more_card(mac: str) -> tuple[str, ...]:
    """QEMU's words for one more network card, on a network of its own. Not on a hub: one without other ports
    takes no packet, and the card's queue would be stuck."""
    noun = f"net{mac[-5:].replace(':', '')}"
    return ("-netdev", f"user,id={noun},restrict=on",
            "-device", f"virtio-net-pci,netdev={noun},mac={mac},romfile=")  # fmt: skip


def together(*tasks: Callable[[], object]) -> None:
    """Do them at once: machines boot, each on a processor. Raises what the first of them raises."""
    with ThreadPoolExecutor(len(tasks)) as threads:
        for done in [threads.submit(task) for task in tasks]:
            done.result()


@dataclass
class Emulated:
    directory: Path
    disk: Path
    """An image; what the machine writes goes into an overlay in `directory`."""
    name: str = "r1"
    size: str | None = None
    """Of the disk, if not the image's."""
    state: Path | None = None
    """A disk for the state alone, raw or qcow2; what the machine writes goes into it."""
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
        state_device: str = "virtio-blk-pci",
        snapshot: str | None = None,
        files: Sequence[int] = (),
    ) -> None:
        """Switch on, with boot data as an SMBIOS OEM string unless told otherwise. With a `snapshot` it goes
        on from there instead. QEMU inherits `files`."""
        self.boots += 1
        self._started = partial(
            self.start,
            *arguments,
            smbios=smbios,
            uefi=uefi,
            bus=bus,
            card=card,
            state_device=state_device,
            files=files,
        )
        argv: list[str | Path] = ["qemu-system-x86_64", *ACCELERATION, "-machine", "q35"]
        # One processor: with more, emulated by threads, one now and then meets the breakpoint that another
        # has just patched away, and the kernel panics.
        argv += ["-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]
        argv += ["-serial", f"file:{self.console_file}"]
        argv += ["-qmp", f"unix:{self.directory / 'qmp'},server=on,wait=off"]
        argv += ["-drive", f"file={self.overlay},if=none,id=disk", *self._disk_device(bus)]
        if self.state is not None:
            argv += ["-drive", f"file={self.state},format={self.state.suffix[1:]},if=none,id=state"]
            argv += ["-device", f"{state_device},serial=sysvm-state,drive=state"]
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
        argv += ["-loadvm", snapshot] if snapshot else []
        with (self.directory / "qemu.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*argv, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=files,
            )

    def start_again(self) -> None:
        """Switch on with the same hardware."""
        self._started()

    def _disk_device(self, bus: str) -> Sequence[str]:
        # Firmware would else take whichever disk it finds first.
        first = "drive=disk,bootindex=1"
        match bus:
            case "virtio":
                return ("-device", f"virtio-blk-pci,{first}")
            case "ahci":
                return ("-device", f"ide-hd,{first}")
            case "scsi":
                return ("-device", "virtio-scsi-pci", "-device", f"scsi-hd,{first}")
            case "vmware":
                return ("-device", "pvscsi", "-device", f"scsi-hd,{first}")
            case _:
                return ("-device", f"{bus},{first}")

    def cut_power(self) -> None:
        """The machine stops between two instructions; what its disk has is what it has."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def snapshot(self, name: str) -> None:
        """Keep what the machine is now, memory and disks, inside of its disks, which are qcow2."""
        said = self.monitor("human-monitor-command", **{"command-line": f"savevm {name}"})
        assert said == "", said

    def copy(self, directory: Path) -> "Emulated":
        """The same machine once more, snapshots included; this one must be off."""
        twin = Emulated(directory, self.disk, name=self.name)
        twin.authority, twin.boot = self.authority, self.boot
        subprocess.run(["cp", "--sparse=always", self.overlay, twin.overlay], check=True)
        if self.state is not None:
            twin.state = directory / self.state.name
            subprocess.run(["cp", "--sparse=always", self.state, twin.state], check=True)
        return twin

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

    def wait_until_it_runs(self) -> None:
        """Until QEMU executes instructions: a snapshot is loaded."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.assert_running()
            with contextlib.suppress(OSError):
                if self.monitor("query-status")["running"]:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.02)

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
        said = (self.directory / "qemu.log").read_text(errors="replace")[-1000:]
        assert self.process.poll() is None, f"QEMU ended: {said}\nThe console said:\n{self.console[-3000:]}"

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
