"""Whether the kernel's links, addresses, routes and rules may have changed since they were last looked at.

The kernel tells every change to sockets that have joined its rtnetlink(7) groups. While there is nothing to
read from ours, what was observed still holds: asking for all of it anew takes 15 ms, and every apply needs
it twice.
"""

import socket

_GROUPS = (1, 5, 7, 8, 9, 11, 19)
"""RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE."""


class News:
    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, sum(1 << (group - 1) for group in _GROUPS)))
        self._socket.setblocking(False)

    def came(self) -> bool:
        """Whether anything was told since the last call. It is heard before the change that caused it is
        acknowledged to who made it, and what is lost for want of room (ENOBUFS) counts as told."""
        told = False
        while True:
            try:
                self._socket.recv(1, socket.MSG_TRUNC)
            except BlockingIOError:
                return told
            except OSError:
                pass
            told = True
