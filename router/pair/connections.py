"""conntrackd(8): connections go to the other router's kernel as they change. What only lives on, a
datagram every second, changes nothing, and would end there; so all that is alive is told again and again."""

import logging
import subprocess

log = logging.getLogger(__name__)
CONFIGURATION = "/run/sysvm/redundancy/conntrackd.conf"
REPEAT_SECONDS = 10.0
"""Less than the shortest time for which the kernel keeps a connection without packets (ICMP: 30 s)."""
_SECONDS = 30.0


def repeat() -> None:
    """Read the kernel's table, and tell the other router all of it."""
    _tell("-R")
    _tell("-B")


def forget() -> None:
    """Of what we told as the primary nothing is ours to tell any more: the end of our copy of a connection
    isn't the end of the connection."""
    _tell("-f", "internal")


def _tell(*words: str) -> None:
    try:
        ran = subprocess.run(
            ["conntrackd", "-C", CONFIGURATION, *words], capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("conntrackd %s: %s", " ".join(words), error)
        return
    if ran.returncode:
        log.warning("conntrackd %s: %s", " ".join(words), (ran.stderr or ran.stdout).strip()[:500])
