"""How many processes a machine starts: every fork of the host, as the kernel tells it (the process events
connector), counted where a process of the machine's is the parent. Exact; threads are left out."""

import os
import socket
import struct
import threading
from types import TracebackType

from appliance.runtime import cgroup

_CONNECTOR, _CN_IDX_PROC, _CN_VAL_PROC = 11, 1, 1
_SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it
_LISTEN, _IGNORE = 1, 2
_FORK = 1
_MESSAGE = struct.Struct("=IIIIHH")
_HEADER = struct.Struct("=IHHII")
_EVENT = struct.Struct("=IIQ")
_FORK_EVENT = struct.Struct("=IIII")
_AT = _HEADER.size + _MESSAGE.size


class Forks:
    """`count` processes were started in a control group while in this context."""

    def __init__(self, group: str) -> None:
        self.count = 0
        self._group = group
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _CONNECTOR)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind((0, _CN_IDX_PROC))

    def __enter__(self) -> "Forks":
        self._members = set(cgroup.processes(self._group))
        self._say(_LISTEN)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Events come in order: once a fork of our own has been seen, so have all before it.
        self._last = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(self._last, 0)
        self._reader.join(5)
        self._say(_IGNORE)
        self._socket.close()

    def _say(self, what: int) -> None:
        content = struct.pack("=I", what)
        message = _MESSAGE.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(content), 0) + content
        self._socket.send(_HEADER.pack(_HEADER.size + len(message), 3, 0, 0, 0) + message)

    def _read(self) -> None:
        own = os.getpid()
        while True:
            data = self._socket.recv(4096)
            if len(data) < _AT + _EVENT.size + _FORK_EVENT.size:
                continue
            what, _, _ = _EVENT.unpack_from(data, _AT)
            if what != _FORK:
                continue
            _, parent, child, child_process = _FORK_EVENT.unpack_from(data, _AT + _EVENT.size)
            if parent == own and child == child_process:
                return
            if child == child_process and parent in self._members:
                self._members.add(child)
                self.count += 1
