"""Modules of the kernel that it doesn't load by itself (modprobe(8))."""

import logging
import shutil
import subprocess
from functools import cache

log = logging.getLogger(__name__)
_SECONDS = 30.0


@cache
def load(module: str) -> None:
    """Once. A container has no modprobe: there it is the host's to load, as all of its kernel is. What is
    built into the kernel is no module."""
    if shutil.which("modprobe") is None:
        return
    try:
        done = subprocess.run(["modprobe", "--quiet", module], capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("Failed to load the module %s: %s", module, error)
        return
    if done.returncode:
        log.warning("The kernel's module %s can't be loaded: %d", module, done.returncode)
