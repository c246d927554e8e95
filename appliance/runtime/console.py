"""A machine's serial console on this terminal."""

import os
import select
import sys
import termios
import tty
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from appliance.runtime.binding import libvirt
from appliance.runtime.hypervisor import said

_LEAVE = b"\x1d"
"""Ctrl-], as telnet(1) and virsh(1) have it."""


def attach(connection: Any, domain: Any) -> int:
    """Until Ctrl-], the end of standard input, or the machine's. Exit status 0. Raises MachineError."""
    stream = connection.newStream()
    with said(f"The console of {domain.name()} can't be opened"):
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    keyboard = sys.stdin.fileno()
    settings = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
    ended = Event()
    try:
        if settings is not None:
            tty.setraw(keyboard)
        Thread(target=_print, args=(stream, ended), daemon=True).start()
        _type(stream, keyboard, ended)
    finally:
        if settings is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, settings)
        with suppress(libvirt.libvirtError):
            stream.abort()
    return 0


def _print(stream: Any, ended: Event) -> None:
    with suppress(libvirt.libvirtError):
        while read := stream.recv(65536):
            sys.stdout.buffer.write(read)
            sys.stdout.flush()
    ended.set()


def _type(stream: Any, keyboard: int, ended: Event) -> None:
    while not ended.is_set():
        if not select.select([keyboard], [], [], 0.2)[0]:
            continue
        typed = os.read(keyboard, 1024)
        if not typed or _LEAVE in typed:
            return
        with suppress(libvirt.libvirtError):
            while typed:
                typed = typed[stream.send(typed) :]
