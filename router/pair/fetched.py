"""Passwords that guests have fetched on either router are offered by neither. Each was pushed to both; the
metadata service notes a digest of what it handed out, and the other one's file with the same digest goes."""

import fcntl
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from appliance import disk

PASSWORDS = Path("/var/lib/sysvm/passwords")
NOTES = Path("/var/lib/sysvm/fetched")
_OWNER = "sysvm-metadata"
_NAME = re.compile(r"[a-z0-9]{1,15}_[0-9.]{7,15}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def noted() -> dict[str, str]:
    """LINK_ADDRESS -> digest of the last password that was fetched there."""
    found = {}
    with suppress(OSError):
        for path in NOTES.iterdir():
            with suppress(OSError):
                if _NAME.fullmatch(path.name):
                    found[path.name] = path.read_text()
    return found


def adopt(theirs: Mapping[str, str], key: bytes) -> int:
    """Take away what was fetched from the other; how many passwords went."""
    gone = 0
    for name, digest in theirs.items():
        if not (_NAME.fullmatch(name) and _DIGEST.fullmatch(digest)):
            continue
        link, _, address = name.partition("_")
        removed = _remove(PASSWORDS / link / address, digest, key)
        gone += removed
        note = NOTES / name
        # What we noted ourselves may be the newer one: then nothing of ours is as theirs.
        if removed or not note.exists():
            disk.replace(note, digest.encode(), mode=0o600, owner=_OWNER, group=_OWNER)
    return gone


def _remove(path: Path, digest: str, key: bytes) -> bool:
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        # As the service does: what comes at this moment waits, and is another one.
        fcntl.flock(directory, fcntl.LOCK_EX)
        try:
            content = path.read_bytes()
        except OSError:
            return False
        if not hmac.compare_digest(hmac.new(key, content, hashlib.sha256).hexdigest(), digest):
            return False
        path.unlink()
        os.fsync(directory)
        return True
    finally:
        os.close(directory)
