"""Where the appliance's state is kept, as the machine found it at boot."""

from pathlib import Path

_FOUND = Path("/run/sysvm-machine/state")


def storage() -> str:
    """`disk`; `disk: repaired`, so that some of it may be lost; `memory: WHY`, and it ends with the machine.

    A container's is `disk`: whoever runs it keeps the directory.
    """
    try:
        return _FOUND.read_text().strip()
    except FileNotFoundError:
        return "disk"
