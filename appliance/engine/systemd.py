"""The service manager over its private socket (org.freedesktop.systemd1(5)), as systemctl(1) talks to it:
a D-Bus connection without a bus, so nothing runs for it and no process is spawned. Asking for the state of
all our units takes about a millisecond; two runs of systemctl took thirty.

A connection lives as long as one question: systemd sends every connection the news of every unit, and
would have to keep it for one that doesn't read.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Properties, new_method_call
from jeepney.auth import BEGIN, make_auth_external
from jeepney.low_level import Parser

_SOCKET = "/run/systemd/private"
_BUS = "org.freedesktop.systemd1"
_MANAGER = DBusAddress("/org/freedesktop/systemd1", _BUS, f"{_BUS}.Manager")
SECONDS = 60.0
"""How long systemd may take to answer, and a unit to get where it should."""

Verb = Literal["restart", "reload", "stop"]
_METHODS: Mapping[Verb, str] = {"restart": "RestartUnit", "reload": "ReloadUnit", "stop": "StopUnit"}


class SystemdError(Exception):
    """What systemd refused, or how a job ended that wasn't done."""


@dataclass(frozen=True, slots=True)
class Observed:
    active: str
    """ActiveState: active, reloading, inactive, failed, activating or deactivating."""
    invocation: str
    """Names this run of the unit; another one after each start."""


def units(pattern: str) -> dict[str, Observed]:
    """The units whose names match a glob(7) pattern, as far as systemd has them loaded."""
    with _Connection() as connection:
        listed = connection.call("ListUnitsByPatterns", "asas", ([], [pattern]))
        found = {}
        for name, _, _, active, _, _, path, *_ in listed:
            unit = DBusAddress(path, _BUS, f"{_BUS}.Unit")
            _, identity = connection.ask(Properties(unit).get("InvocationID"))
            found[name] = Observed(active, bytes(identity).hex())
        return found


def act(verb: Verb, name: str) -> None:
    """Have a unit restarted, reloaded or stopped, and wait until it is. Raises SystemdError, and OSError
    where systemd doesn't answer."""
    with _Connection() as connection:
        job = connection.call(_METHODS[verb], "ss", (name, "replace"))
        while True:
            _, ended, _, result = connection.signal("JobRemoved", timeout=SECONDS)
            if ended == job:
                break
    if result != "done":
        raise SystemdError(f"The job to {verb} {name} ended as: {result}")


class _Connection:
    """D-Bus without a bus: nobody to say hello to, and signals come without being asked for."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._parser = Parser()
        try:
            self._parser.add_data(self._authenticate())
        except BaseException:
            self._socket.close()
            raise
        self._signals: list[Message] = []
        self._serial = 0

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _authenticate(self) -> bytes:
        """As root, which the kernel vouches for (SASL EXTERNAL). All at once, as sd-bus does: if the first
        message came in one piece with BEGIN, systemd would not look at it before the next one. What came
        after the answer is returned: the news of a unit that changes just now."""
        self._socket.settimeout(SECONDS)
        self._socket.connect(_SOCKET)
        self._socket.sendall(b"\0" + make_auth_external() + BEGIN)
        answer = b""
        while b"\r\n" not in answer:
            content = self._socket.recv(1024)
            answer += content
            if not content or not b"OK ".startswith(answer[:3]):
                raise SystemdError(f"systemd lets nobody in: {answer!r}")
        return answer.partition(b"\r\n")[2]

    def call(self, method: str, signature: str, arguments: tuple[Any, ...]) -> Any:
        """Of the manager's methods. Raises SystemdError where it refuses."""
        return self.ask(new_method_call(_MANAGER, method, signature, arguments))

    def ask(self, message: Message) -> Any:
        self._serial += 1
        self._socket.settimeout(SECONDS)
        self._socket.sendall(message.serialise(serial=self._serial))
        while True:
            reply = self._receive()
            if reply.header.fields.get(HeaderFields.reply_serial) != self._serial:
                self._signals.append(reply)
            elif reply.header.message_type is MessageType.error:
                raise SystemdError(str(reply.body[0] if reply.body else reply.header.fields))
            else:
                return reply.body[0]

    def signal(self, member: str, *, timeout: float) -> Any:
        """The content of the next signal of this name, also one that came before it was asked for."""
        self._socket.settimeout(timeout)
        while True:
            message = self._signals.pop(0) if self._signals else self._receive()
            if message.header.fields.get(HeaderFields.member) == member:
                return message.body

    def _receive(self) -> Message:
        while (message := self._parser.get_next_message()) is None:
            content = self._socket.recv(65536)
            if not content:
                raise ConnectionResetError("systemd closed the connection")
            self._parser.add_data(content)
        return message
