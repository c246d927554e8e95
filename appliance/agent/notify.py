"""Tell systemd how the agent is (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Send e.g. `READY=1`; where no service manager listens, do nothing."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect("\0" + path[1:] if path.startswith("@") else path)
        sender.send(state.encode())
