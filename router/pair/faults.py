"""Faults of this router, each a sentence: what a guest or the world would miss, if it were the primary."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from appliance import neighbour
from appliance.engine import systemd
from router.pair.settings import Settings

log = logging.getLogger(__name__)
_LINK_GROUP = 1
"""RTMGRP_LINK, rtnetlink(7)."""


class Faults:
    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._answered: dict[tuple[str, str], float] = {}
        """Gateway -> when it last did."""
        self._well: dict[str, float] = {}
        """Daemon -> when it was last seen to go on running."""
        self._invocations: dict[str, str] = {}

    def now(self) -> list[str]:
        settings, moment = self._settings(), time.monotonic()
        found = [f"{link} has no carrier" for link in settings.links if not _has_carrier(link)]
        for link, gateway in settings.gateways:
            answered = self._answered.setdefault((link, gateway), moment)
            # A link without a carrier is one fault, not two.
            if moment - answered > settings.seconds and f"{link} has no carrier" not in found:
                found.append(f"Gateway {gateway} on {link} doesn't answer")
        for daemon in (*settings.daemons, *settings.tunnels.values()):
            if moment - self._well.setdefault(daemon, moment) > settings.seconds:
                found.append(f"{daemon} doesn't run")
        return found

    def ask_daemons(self) -> None:
        """One that starts anew at each look isn't well."""
        try:
            observed = systemd.units("sysvm-*")
        except (OSError, systemd.SystemdError) as error:
            log.warning("systemd can't be asked: %s", error)
            return
        settings, moment = self._settings(), time.monotonic()
        for link, daemon in settings.tunnels.items():
            if _is_kernels(link):
                self._well[daemon] = moment
        for daemon in (*settings.daemons, *settings.tunnels.values()):
            unit = observed.get(daemon)
            invocation = (
                unit.invocation if unit is not None and unit.active in ("active", "reloading") else ""
            )
            if invocation and self._invocations.get(daemon) == invocation:
                self._well[daemon] = moment
            self._invocations[daemon] = invocation

    def ask_gateways(self) -> None:
        for link, gateway in self._settings().gateways:
            try:
                if neighbour.answers(link, gateway):
                    self._answered[link, gateway] = time.monotonic()
            except OSError:
                continue  # the link is a fault of its own


def _has_carrier(link: str) -> bool:
    try:
        return Path(f"/sys/class/net/{link}/carrier").read_text().strip() == "1"
    except OSError:
        return False  # no such card, or down


def _is_kernels(link: str) -> bool:
    """Whether a tunnel is the kernel's WireGuard, which has no daemon."""
    try:
        return "DEVTYPE=wireguard\n" in Path(f"/sys/class/net/{link}/uevent").read_text()
    except OSError:
        return False


def on_link_news(tell: Callable[[], None]) -> None:
    """Call `tell` whenever a link changes; for as long as the process lives."""

    def watch() -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as news:
            news.bind((0, _LINK_GROUP))
            while True:
                # Too many at once are an error, and news all the same.
                with contextlib.suppress(OSError):
                    news.recv(65536)
                tell()

    threading.Thread(target=watch, daemon=True).start()
