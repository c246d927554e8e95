"""A relay: one process, one event loop, all browsers that the kernel gives it."""

import asyncio
import contextlib
import ipaddress
import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from consoleproxy.console_server import back_end
from consoleproxy.console_server import settings as configuration
from consoleproxy.console_server.back_end import BackEndError
from consoleproxy.console_server.browser import Browser
from consoleproxy.console_server.certificates import Shown
from consoleproxy.console_server.doorway import Doorway
from consoleproxy.console_server.pages import Pages
from consoleproxy.console_server.settings import Console, Listen
from consoleproxy.console_server.stream import ClosedError, Exchange

_TICK_SECONDS = 1.0
_MOST_UNENTERED = 1024
"""Connections without a session; the oldest makes room for a new one."""
_ASK_SECONDS = 10.0
_BACKLOG = 4096


class Relay:
    def __init__(self, number: int, config: Path, runtime: Path, pages: Pages) -> None:
        self.settings = configuration.load(config)
        self.pages = pages
        self.policy = ""
        self._number, self._config, self._runtime = number, config, runtime
        self._unentered: dict[Browser, None] = {}
        self._entered: dict[str, Browser] = {}
        self._servers: dict[Listen, asyncio.Server | Doorway] = {}
        self._shown = Shown()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._entering: dict[int, Browser] = {}
        self._next = 0
        self._desk: asyncio.StreamWriter | None = None
        self._noted = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        self._apply()
        await self._listen()
        # The desk takes who talks for one that serves.
        talk = asyncio.create_task(self._talk())
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TICK_SECONDS)
            self._tick()
        talk.cancel()
        for server in self._servers.values():
            server.close()
        for browser in list(self._entered.values()):
            browser.end("proxy-stops")

    async def reload(self) -> None:
        try:
            self.settings = configuration.load(self._config)
            self._apply()
        except (OSError, ValueError, KeyError, TypeError) as error:
            # What was good before is better than nothing.
            self.note(f"{self._config}: {type(error).__name__}")
            return
        await self._listen()

    def _apply(self) -> None:
        frames = " ".join(["'self'", *sorted(self.settings.origins)])
        self.policy = (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
            f"base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
        )
        self._shown.replace(self.settings.certificate, self.settings.certificates)

    async def _listen(self) -> None:
        """Connections that are there stay, whatever becomes of the socket they came by."""
        wanted = set(self.settings.listen)
        for gone in self._servers.keys() - wanted:
            self._servers.pop(gone).close()
        for listen in wanted - self._servers.keys():
            try:
                self._servers[listen] = await self._serve(listen)
            except OSError as error:
                # An address that isn't there yet: tried again with the next tick.
                self.note(f"{listen.address}:{listen.port}: {error}")

    async def _serve(self, listen: Listen) -> asyncio.Server | Doorway:
        family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((listen.address, listen.port))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        if listen.tls:
            return Doorway(listener, lambda: Browser(self, secure=True), self._shown)
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Browser(self, secure=False), sock=listener, backlog=_BACKLOG)

    def _tick(self) -> None:
        now = monotonic()
        for browser in [*self._unentered, *self._entered.values()]:
            browser.tick(now)
        traffic = {}
        for name, browser in self._entered.items():
            if browser.to_viewer or browser.from_viewer or browser.active:
                traffic[name] = browser.to_viewer, browser.from_viewer, browser.active
                browser.to_viewer = browser.from_viewer = 0
                browser.active = False
        if traffic:
            self._tell(do="traffic", sessions=traffic)
        if self.settings.listen and len(self._servers) < len(self.settings.listen):
            asyncio.get_running_loop().create_task(self._listen())

    def note(self, text: str) -> None:
        # Some of these anybody can make happen as often as they like; a log needs them once.
        if text != self._noted:
            self._noted = text
            print(f"relay {self._number}: {text}", file=sys.stderr, flush=True)

    # Browsers

    def came(self, browser: Browser) -> None:
        self._unentered[browser] = None
        if len(self._unentered) > _MOST_UNENTERED:
            next(iter(self._unentered)).drop()

    def went(self, browser: Browser) -> None:
        self._unentered.pop(browser, None)
        self.over(browser, "gone", keep=True)

    def _enters(self, browser: Browser, answer: Mapping[str, Any]) -> None:
        """The desk has let it in. A session that is entered again has left the place where it was."""
        browser.session, browser.connection = answer["session"], answer["connection"]
        self._unentered.pop(browser, None)
        before = self._entered.pop(browser.session, None)
        self._entered[browser.session] = browser
        if before is not None:
            before.end("elsewhere")
        if browser.is_over:
            # It has gone while the desk was asked.
            self.over(browser, "gone", keep=True)

    def over(self, browser: Browser, code: str, *, keep: bool = False) -> None:
        """A browser has left its session, for good unless `keep`."""
        if browser.session and self._entered.get(browser.session) is browser:
            del self._entered[browser.session]
            traffic = {browser.session: (browser.to_viewer, browser.from_viewer, False)}
            self._tell(do="traffic", sessions=traffic)
            what = {"session": browser.session, "connection": browser.connection, "code": code}
            self._tell(do="left" if keep else "ended", **what)

    def command(self, browser: Browser, command: Mapping[str, str]) -> None:
        self._tell(do="command", session=browser.session, command=command)

    def client(self, peer: str, forwarded: str) -> str:
        """Whom a request is from: the last in X-Forwarded-For that isn't a proxy of ours."""
        address = peer
        for each in reversed(forwarded.split(",")):
            if not self._is_proxy(address) or not is_address(each.strip()):
                break
            address = each.strip()
        return address

    def _is_proxy(self, address: str) -> bool:
        if not is_address(address):
            return False
        ip = ipaddress.ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip.version == network.version and ip in network for network in self.settings.proxies)

    # Consoles

    async def console(self, name: str) -> tuple[Exchange, str] | str:
        """A connection to a console, or why there is none."""
        if name not in self.settings.consoles:
            # The desk knows it: it was told of the new configuration a moment before us.
            await self.reload()
        console = self.settings.consoles.get(name)
        if console is None:
            return "console-unknown"
        try:
            if console.kind == "text":
                return await self._text(console), "text"
            return await back_end.connect(console), "vnc"
        except BackEndError as error:
            self.note(f"{name}: {error.code}: {error}")
            return error.code

    async def _text(self, console: Console) -> Exchange:
        """Text consoles are shared: the desk has them. Raises BackEndError."""
        try:
            async with asyncio.timeout(back_end.CONNECT_SECONDS + 1):
                path = str(self._runtime / "text.sock")
                _, exchange = await asyncio.get_running_loop().create_unix_connection(Exchange, path)
                exchange.write(f"{console.name}\n".encode())
                word = (await exchange.read_to(b"\n", 256)).decode().strip()
        except (OSError, TimeoutError, ClosedError, ValueError) as error:
            raise BackEndError("proxy-busy", repr(error)) from None
        if word != "ok":
            exchange.transport.abort()
            raise BackEndError(word, "as the desk says")
        return exchange

    # The desk

    def _tell(self, **value: object) -> None:
        if self._desk is not None:
            self._desk.write(json.dumps(value).encode() + b"\n")

    async def enter(self, browser: Browser, token: str, client: str) -> dict[str, Any]:
        """The desk's answer to a browser with a session's token."""
        # Kept until the answer comes, also where nobody waits for it any longer: it counts for the desk.
        self._entering[self._next + 1] = browser
        return await self.ask(do="enter", token=token, client=client)

    async def ask(self, **value: object) -> dict[str, Any]:
        """The desk's answer; `error` is in it where there is none."""
        self._next += 1
        number = self._next
        if self._desk is None:
            self._entering.pop(number, None)
            return {"error": "proxy-busy"}
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._tell(id=number, **value)
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return await future
        except TimeoutError:
            return {"error": "proxy-busy"}
        finally:
            del self._asked[number]

    async def _talk(self) -> None:
        """With the desk, and with the next one when it has ended."""
        path = str(self._runtime / "desk.sock")
        while True:
            with contextlib.suppress(OSError, ValueError):
                reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
                self._desk = writer
                there = {name: browser.connection for name, browser in self._entered.items()}
                self._tell(do="hello", relay=self._number, sessions=there)
                try:
                    while line := await reader.readline():
                        self._told(json.loads(line))
                finally:
                    self._desk = None
                    self._entering.clear()
                    writer.close()
                    for future in self._asked.values():
                        if not future.done():
                            future.set_result({"error": "proxy-busy"})
            await asyncio.sleep(0.1)

    def _told(self, value: dict[str, Any]) -> None:
        if "id" in value:
            # At once: what the desk says next may be about this session.
            entering = self._entering.pop(value["id"], None)
            if entering is not None and "error" not in value:
                self._enters(entering, value)
            future = self._asked.get(value["id"])
            if future is not None and not future.done():
                future.set_result(value)
            return
        browser = self._entered.get(value["session"])
        if browser is None:
            return
        if value["do"] == "view":
            browser.viewed(value)
        elif value["do"] == "close":
            del self._entered[browser.session]
            browser.end(value["code"])


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
