"""What this appliance is made of."""

import platform
from functools import cache
from importlib import metadata
from pathlib import Path

_SELF = "sysvm"


@cache
def versions() -> dict[str, str]:
    """Our own version, the kernel's and Python's; in an image, the digest of what it was built from."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    try:
        found[_SELF] = metadata.version(_SELF)
    except metadata.PackageNotFoundError:
        found[_SELF] = "unknown"
    image = Path("/usr/lib/sysvm/image")
    if image.exists():
        found["image"] = image.read_text().strip()
    return found
