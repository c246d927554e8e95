"""Whether network cards came or went: a card that is plugged in shouldn't wait for the next look around."""

import select
import socket
import time

from appliance.agent.injection import LINK as EXPLAINING

_LINKS = 1  # RTMGRP_LINK, rtnetlink(7)


class Cards:
    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, _LINKS))
        self._socket.setblocking(False)
        self._known = _indexes()

    def wait(self, seconds: float) -> None:
        """Until a card comes or goes, `seconds` at most. One that goes up or down doesn't count."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                return
            self._drain()
            known, self._known = self._known, _indexes()
            if known != self._known:
                return

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(1, socket.MSG_TRUNC)
            except BlockingIOError:
                return
            except OSError:
                pass  # ENOBUFS: some were lost, which is as good as read.


def _indexes() -> frozenset[int]:
    return frozenset(index for index, name in socket.if_nameindex() if name != EXPLAINING)
