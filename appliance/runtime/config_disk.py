"""The disk that carries boot data where firmware doesn't: FAT, labelled SYSVM-BOOT, with one file."""

import subprocess
import tempfile
from pathlib import Path

from appliance.boot import CREDENTIAL
from appliance.runtime.runtime import MachineError

LABEL = "SYSVM-BOOT"
_SIZE = 1024 * 1024


def image(boot: bytes) -> bytes:
    """The disk's bytes. Raises MachineError where mtools(1) isn't installed."""
    with tempfile.TemporaryDirectory() as directory:
        disk, file = Path(directory, "disk"), Path(directory, CREDENTIAL)
        file.write_bytes(boot)
        with disk.open("wb") as made:
            made.truncate(_SIZE)
        try:
            for argv in (
                ["mformat", "-i", str(disk), "-v", LABEL, "-h", "2", "-s", "32", "-t", "32", "::"],
                ["mcopy", "-i", str(disk), str(file), f"::/{CREDENTIAL}"],
            ):
                subprocess.run(argv, check=True, capture_output=True)
        except FileNotFoundError as error:
            raise MachineError(f"boot data on a disk needs mtools: no {error.filename}") from error
        return disk.read_bytes()
