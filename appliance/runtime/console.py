"""A machine's serial console on this terminal."""

import os
import select
import sys
import termios
import time
import tty
from contextlib import suppress
from typing import Any

from appliance.runtime.binding import libvirt
from appliance.runtime.hypervisor import said

_LEAVE = b"\x1d"
"""Ctrl-], as telnet(1) and virsh(1) have it."""


def attach(connection: Any, domain: Any) -> int:
    """Until Ctrl-], the end of standard input, or the machine's. Exit status 0. Raises MachineError."""
    stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    with said(f"The console of {domain.name()} can't be opened"):
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    keyboard = sys.stdin.fileno()
    settings = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
    try:
        if settings is not None:
            tty.setraw(keyboard)
        _pass_on(stream, keyboard)
    finally:
        if settings is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, settings)
        with suppress(libvirt.libvirtError):
            stream.abort()
    return 0


def _pass_on(stream: Any, keyboard: int) -> None:
    while True:
        with suppress(libvirt.libvirtError):
            while isinstance(read := stream.recv(65536), bytes):
                if not read:
                    return
                sys.stdout.buffer.write(read)
                sys.stdout.flush()
        # libvirt's stream is no descriptor to wait for: it is asked often enough not to be noticed.
        if select.select([keyboard], [], [], 0.02)[0]:
            typed = os.read(keyboard, 1024)
            if not typed or _LEAVE in typed:
                return
            _send(stream, typed)


def _send(stream: Any, typed: bytes) -> None:
    while typed:
        sent = stream.send(typed)
        if sent < 0:
            time.sleep(0.01)
            continue
        typed = typed[sent:]
