"""The machine's own addresses, and whether one came or went: tunnels of a pair are where theirs are."""

import select
import socket
from collections.abc import Set as AbstractSet
from functools import cached_property

from appliance.engine.rtnetlink import IPRoute

_GROUPS = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR, rtnetlink(7)."""


class Addresses:
    def now(self) -> AbstractSet[str]:
        """All of them, without prefix lengths."""
        with IPRoute() as asked:
            return {
                message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                for message in asked.get_addr()
            }

    def changed(self, seconds: float) -> bool:
        """Wait for a change, `seconds` at most; those since the last call count."""
        if not select.select([self._news], [], [], seconds)[0]:
            return False
        while True:
            try:
                self._news.recv(1, socket.MSG_TRUNC)
            except BlockingIOError:
                return True
            except OSError:
                pass  # ENOBUFS: some were lost, which is as good as read.

    @cached_property
    def _news(self) -> socket.socket:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        made.bind((0, _GROUPS))
        made.setblocking(False)
        return made
