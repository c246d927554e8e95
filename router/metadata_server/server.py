"""The service: networks that come and go, and the answer to each request."""

import asyncio
import contextlib
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic

from router.metadata_server import status
from router.metadata_server.answers import TOKEN_HEADER, TOKEN_PATH, Door, dialect, refused, respond
from router.metadata_server.connection import Answered, Connection
from router.metadata_server.neighbour import Neighbours
from router.metadata_server.network import Network, Settings
from router.metadata_server.password import Passwords
from router.metadata_server.records import Guest
from router.metadata_server.request import Request
from router.metadata_server.response import NOT_FOUND, Response, document, text
from router.metadata_server.token import Tokens, lifetime

TICK_SECONDS = 0.05
"""How often the configuration is looked at."""
_STATUS_SECONDS = 1.0
_READ_BYTES = 16_384
_LINK = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,14}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    configuration: Path
    """The directory of `config.json` and of each network's records."""
    passwords: Path
    fetched: Path
    """Where digests of fetched passwords are noted, on a router of a pair."""
    runtime: Path
    """Where `status.json` and `health.sock` are made, if it is there."""


class MetadataServer:
    def __init__(self, paths: Paths, *, connections: int, access_log: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.connections: set[Connection] = set()
        self.neighbours = Neighbours()
        self.buffer = memoryview(bytearray(_READ_BYTES))
        """What connections read into."""
        self._paths = paths
        self._most_connections = connections
        self._access_log = access_log
        self._networks: dict[str, Network] = {}
        self._tokens = Tokens()
        self._passwords = Passwords(paths.passwords)
        self._workers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="acknowledge")
        self._config_stamp: tuple[int, int, int] | None = None
        self._status_written: Mapping[str, object] = {}
        self._complained = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        loop = asyncio.get_running_loop()
        health = await self._health_socket(loop)
        await self._tick()
        status.notify("READY=1")
        due = loop.time() + _STATUS_SECONDS
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            await self._tick()
            if loop.time() >= due:
                due = loop.time() + _STATUS_SECONDS
                self._write_status()
        status.notify("STOPPING=1")
        if health is not None:
            health.close()
        for network in self._networks.values():
            network.close_listeners()
        for connection in list(self.connections):
            connection.abort()
        self._workers.shutdown()
        self._write_status()

    def admit(self, connection: Connection) -> bool:
        if len(self.connections) >= self._most_connections:
            return False
        self.connections.add(connection)
        return True

    def stranger(self, connection: Connection) -> bool:
        """Whether the other end is nobody we know; such a connection isn't kept."""
        return connection.network is not None and connection.guest(monotonic()) is None

    def answer(self, connection: Connection, request: Request, now: float) -> Answered | None:
        """The answer to a request, or None if it will be sent later."""
        try:
            answered = self._answer(connection, request, now)
        except Exception as error:  # A record nobody foresaw is one guest's trouble, not the service's.
            self._complain(f"{connection.address} {request.path}: {error!r}")
            answered = Answered(Response(500))
        if self._access_log and answered is not None:
            link = connection.network.link if connection.network else "-"
            line = f"{link} {connection.address} {request.method} {request.path} {answered.response.status}"
            print(line, file=sys.stderr)
        return answered

    def _answer(self, connection: Connection, request: Request, now: float) -> Answered | None:
        network, door = connection.network, connection.door
        if network is None:
            return Answered(self._health(request), "health")
        refusal = refused(request, door=door)
        if refusal is not None:
            return Answered(refusal)
        guest = connection.guest(now)
        if guest is None:
            self.counts["refused unknown_guest"] += 1
            if connection.mac is None:
                # The kernel forgot the neighbour just now (a full table): it had better ask again.
                return Answered(Response(503, header=("Retry-After", "1")))
        if door is Door.PASSWORD:
            return self._password(connection, network, request, known=guest is not None)
        if guest is None:
            # Nothing that would tell what others would find here.
            return Answered(NOT_FOUND)
        holder = f"{network.link} {connection.address} {connection.mac}"
        if request.path == TOKEN_PATH:
            return Answered(self._token(connection, holder, request, now), "token")
        return self._metadata(network, door, guest, holder, request, now)

    def _metadata(
        self, network: Network, door: Door, guest: Guest, holder: str, request: Request, now: float
    ) -> Answered:
        until, token_valid = inf, None
        token = request.headers.get(TOKEN_HEADER)
        if token is not None:
            until = self._tokens.expiry(token, holder) or 0.0
            token_valid = now < until
        response = respond(
            guest.record,
            request.path,
            door=door,
            network=network.settings.network_of(guest.record.address),
            tokens_required=network.settings.tokens_required,
            token_valid=token_valid,
        )
        return Answered(response, dialect(request.path, door=door), guest=guest, until=until)

    def _token(self, connection: Connection, holder: str, request: Request, now: float) -> Response:
        seconds = lifetime(request.headers.get(f"{TOKEN_HEADER}-ttl-seconds"))
        if seconds is None:
            return Response(400)
        # A token is for the guest's own system: not for a container behind it, nor for whoever
        # got in through a proxy (EC2's hop limit of 1).
        connection.hop_limit(1)
        token = self._tokens.issue(holder, seconds=seconds, now=now)
        return Response(200, token.encode(), header=("X-aws-ec2-metadata-token-ttl-seconds", str(seconds)))

    def _password(
        self, connection: Connection, network: Network, request: Request, *, known: bool
    ) -> Answered | None:
        """CloudStack's password protocol. A stranger is told what a guest without a password is told,
        which its clients take for "nothing to do"."""
        address = connection.address
        match request.headers.get("domu_request"):
            case "send_my_password":
                password = self._passwords.offer(network.link, address) if known else None
                return Answered(Response(200, password or b"saved_password"), "password")
            case "saved_password":
                sent = self._passwords.sent(network.link, address) if known else None
                if sent is None:
                    return Answered(text("saved_password"), "password")
                # The disk may be slow, and there are others to answer.
                removal = asyncio.get_running_loop().run_in_executor(
                    self._workers, self._passwords.forget, network.link, address, sent
                )
                removal.add_done_callback(lambda done: self._acknowledged(done, connection, request))
                return None
        return Answered(Response(400, b"bad_request"), "password")

    def _acknowledged(self, removal: asyncio.Future[bool], connection: Connection, request: Request) -> None:
        error = None if removal.cancelled() else removal.exception()
        if error is not None:
            self._complain(f"the password of {connection.address} can't be removed: {error}")
        response = text("saved_password") if error is None else Response(500)
        connection.send(response, kind="password", request=request)

    def _health(self, request: Request) -> Response:
        if request.method != "GET" or request.path != "/health":
            return NOT_FOUND
        return document({"networks": self._network_status()})

    def _network_status(self) -> Mapping[str, object]:
        return {
            link: {"records": network.records.count(), "listening": network.listening}
            for link, network in self._networks.items()
        }

    async def _health_socket(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractServer | None:
        path = self._paths.runtime / "health.sock"
        if not path.parent.is_dir():
            return None
        path.unlink(missing_ok=True)
        server = await loop.create_unix_server(lambda: Connection(self, None, Door.HEALTH), str(path))
        # Guests have no way to it; other users of this machine needn't have one either.
        path.chmod(0o600)
        return server

    async def _tick(self) -> None:
        self._read_config()
        for network in self._networks.values():
            await network.listen(lambda network, door: Connection(self, network, door))
        now = monotonic()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire()

    def _read_config(self) -> None:
        path = self._paths.configuration / "config.json"
        try:
            found = path.stat()
            stamp = found.st_ino, found.st_mtime_ns, found.st_size
            if stamp == self._config_stamp:
                return
            self._config_stamp = stamp
            content = path.read_text()
            wanted = settings(content)
            key = json.loads(content).get("fetched_key")
            self._passwords.notes = (self._paths.fetched, bytes.fromhex(key)) if key else None
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # What was good before is better than nothing.
            self._complain(f"{path}: {error!r}")
            return
        for link in self._networks.keys() - wanted.keys():
            self._remove(link)
        for link, each in wanted.items():
            network = self._networks.get(link)
            if network is not None and network.settings.addresses != each.addresses:
                self._remove(link)
                network = None
            if network is None:
                self._networks[link] = Network(link, each, self._paths.configuration / link)
            elif network.settings != each:
                network.settings = each
                network.records.forget_answers()

    def _remove(self, link: str) -> None:
        network = self._networks.pop(link)
        network.close_listeners()
        for connection in [each for each in self.connections if each.network is network]:
            connection.abort()
        network.records.close()

    def _write_status(self) -> None:
        value = {**status.summary(self.counts), "connections": len(self.connections)}
        value["networks"] = self._network_status()
        if value == self._status_written:
            return
        try:
            status.write(self._paths.runtime / "status.json", value)
        except OSError:
            return  # Not started by systemd: nobody reads it.
        self._status_written = value

    def _complain(self, message: str) -> None:
        # Guests can make some of these happen as often as they like; a log needs them once.
        if message != self._complained:
            print(message, file=sys.stderr, flush=True)
            self._complained = message


def settings(config: str) -> dict[str, Settings]:
    """The networks in the text of a `config.json`. Raises ValueError, KeyError, TypeError or
    AttributeError."""
    networks: dict[str, Settings] = {}
    for link, each in json.loads(config)["networks"].items():
        if not _LINK.fullmatch(link):
            raise ValueError(f"{link!r} is not the name of an interface")
        networks[link] = Settings(
            address=each["address"],
            network=each["network"],
            tokens_required=each.get("tokens", "optional") == "required",
            further=tuple((other["address"], other["network"]) for other in each.get("further", [])),
        )
    return networks
