"""What this appliance is made of."""

import platform
from functools import cache
from pathlib import Path

from appliance import __version__


@cache
def versions() -> dict[str, str]:
    """Our own version, the kernel's and Python's; in an image, the digest of what it was built from."""
    found = {
        "sysvm": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    image = Path("/usr/lib/sysvm/image")
    if image.exists():
        found["image"] = image.read_text().strip()
    return found
