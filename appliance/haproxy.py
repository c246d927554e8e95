"""HAProxy's runtime API (its management guide, section 9.3): what a running process knows, and changes to it
that need no other process. Over unix sockets that only root may use. There may be several HAProxys, each
with some of the load balancers."""

import csv
import datetime
import io
import select
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

DIRECTORY = Path("/run/sysvm/haproxy")
CERTIFICATES = DIRECTORY / "certificates"
RUN = Path("/run/sysvm-haproxy")
_ADMIN = "admin.sock"
_SECONDS = 5.0
_LOOK_SECONDS = 0.002
_PROMPT = b"\n> "
_MAINTENANCE = 1


class HaproxyError(Exception):
    """What HAProxy refused, in its words."""


class Place(NamedTuple):
    """Where one HAProxy is found, by its number from 0."""

    number: int

    @property
    def unit(self) -> str:
        return f"sysvm-haproxy@{self.number}.service"

    @property
    def config(self) -> Path:
        return DIRECTORY / f"{self.number}.cfg"

    @property
    def run(self) -> Path:
        return RUN / str(self.number)

    @property
    def admin(self) -> Path:
        return self.run / _ADMIN

    @property
    def master(self) -> Path:
        return self.run / "master.sock"

    @property
    def health(self) -> Path:
        return self.run / "health.sock"

    @property
    def state(self) -> Path:
        """Which servers are down, told to the process that takes over."""
        return self.run / "servers"


def running() -> list[Place]:
    """Those that are there to be asked."""
    return sorted(Place(int(path.parent.name)) for path in RUN.glob(f"*/{_ADMIN}"))


class Observed(NamedTuple):
    """A server as the running process has it; see `resources.BackendServer`. A tuple, for there are
    thousands of them at every look."""

    number: int
    address: str
    port: int
    weight: int
    maintenance: bool


class Session:
    """With one process, for several commands: also while another one takes over from it."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where nobody listens."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_SECONDS)
        try:
            self._socket.connect(str(path))
            self._exchange("prompt")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, command: str) -> str:
        """The answer, without blank lines around it. Raises OSError."""
        return self._exchange(command).strip()

    def order(self, command: str, *, expect: Sequence[str] = ("",)) -> None:
        """Raises HaproxyError where the answer isn't what HAProxy says when it has done so."""
        answer = self.ask(command)
        if answer not in expect and not any(word and answer.endswith(word) for word in expect):
            # Of a command with a payload only its first line: the rest may be a key.
            raise HaproxyError(f"{command.partition(' <<')[0]}: {answer}")

    def _exchange(self, command: str) -> str:
        self._socket.sendall(f"{command}\n".encode())
        answer = b""
        while not answer.endswith(_PROMPT) and answer != _PROMPT[1:]:
            content = self._socket.recv(1 << 18)
            if not content:
                raise ConnectionResetError("HAProxy closed the connection")
            answer += content
        return answer.removesuffix(_PROMPT[1:]).decode(errors="replace")

    # --- what it knows --------------------------------------------------------------------------------

    def description(self) -> str:
        """What the loaded configuration calls itself."""
        return self._info("description")

    def stopping(self) -> bool:
        """Whether it takes no further connections, having given its place to another process or ended."""
        try:
            return self._info("Stopping") == "1"
        except ConnectionError:
            return True

    def _info(self, wanted: str) -> str:
        for line in self.ask("show info").splitlines():
            name, _, value = line.partition(": ")
            if name == wanted:
                return value
        return ""

    def servers(self) -> dict[str, dict[str, Observed]]:
        """By load balancer and name."""
        found: dict[str, dict[str, Observed]] = {}
        of, servers = "", {}
        for line in self.ask("show servers state").splitlines()[2:]:
            # backend's id and name, server's id, name and address, ...: management guide, 9.3.
            _, backend, number, name, address, _, state, weight, *rest = line.split(" ", 19)
            if backend != of:
                of, servers = backend, found.setdefault(backend, {})
            maintenance = bool(int(state) & _MAINTENANCE)
            servers[name] = Observed(int(number), address, int(rest[10]), int(weight), maintenance)
        return found

    def fingerprint(self, path: Path) -> str | None:
        """SHA-1 of the certificate that is loaded from there, in hexadecimal; None where none is."""
        for line in self.ask(f"show ssl cert {path}").splitlines():
            name, _, value = line.partition(": ")
            if name == "SHA1 FingerPrint":
                return value.strip().lower()
        return None

    def certificate_ends(self) -> dict[str, float]:
        """When each loaded certificate ends, in seconds since 1970, by its file's name without `.pem`."""
        found = {}
        for path in self.ask("show ssl cert").splitlines():
            if not path.startswith(str(CERTIFICATES)):
                continue
            for line in self.ask(f"show ssl cert {path}").splitlines():
                name, _, value = line.partition(": ")
                if name == "notAfter":
                    end = datetime.datetime.strptime(value.strip(), "%b %d %H:%M:%S %Y GMT")
                    found[Path(path).stem] = end.replace(tzinfo=datetime.UTC).timestamp()
        return found

    def statistics(self) -> list[dict[str, str]]:
        """A row for each load balancer's front (`FRONTEND`), its servers, and all of those (`BACKEND`)."""
        text = self.ask("show stat").removeprefix("# ")
        return list(csv.DictReader(io.StringIO(text)))

    # --- changes --------------------------------------------------------------------------------------

    def replace_certificate(self, path: Path, pem: str) -> None:
        """For connections from now on. Raises HaproxyError with nothing changed."""
        # An empty line would end the payload.
        lines = "\n".join(line for line in pem.splitlines() if line.strip())
        self.order(f"set ssl cert {path} <<\n{lines}\n", expect=(f"certificate {path}!",))
        try:
            self.order(f"commit ssl cert {path}", expect=("Success!",))
        except HaproxyError:
            self.ask(f"abort ssl cert {path}")
            raise


def reload(place: Place, wanted: str) -> None:
    """Have the master start a process with the configuration as it is on disk now, which takes over the
    listening sockets, and wait until nobody else answers there, and its description is as `wanted`. The
    master answers only once it has started itself anew, too, when the new process has long been serving: its
    answer is what a refusal is told by. Raises HaproxyError with the old process going on, OSError where no
    master is."""
    # The new process listens before the old one is told to stop, at the same sockets: who answers until then
    # is chance. So the old one is asked itself.
    with Session(place.admin) as before, socket.socket(socket.AF_UNIX) as master:
        master.settimeout(_SECONDS)
        master.connect(str(place.master))
        master.sendall(b"reload\n")
        answer, told = b"", False
        deadline = time.monotonic() + _SECONDS
        while not (before.stopping() and describes(place, wanted)):
            if time.monotonic() > deadline:
                raise HaproxyError("The process that runs has another configuration than it was told")
            if told:
                time.sleep(_LOOK_SECONDS)
            elif select.select([master], [], [], _LOOK_SECONDS)[0]:
                content = master.recv(1 << 16)
                answer += content
                if told := not content:
                    _accept(answer.decode(errors="replace"))


def describes(place: Place, wanted: str) -> bool:
    """Whether the process that takes connections now has a configuration of that description."""
    try:
        with Session(place.admin) as session:
            return session.description() == wanted
    except (FileNotFoundError, ConnectionError):
        return False


def _accept(answer: str) -> None:
    """Raises HaproxyError with a master's words, where it didn't do it."""
    success, _, words = answer.partition("\n--\n")
    if success.strip() != "Success=1":
        raise HaproxyError(words.strip() or success)
