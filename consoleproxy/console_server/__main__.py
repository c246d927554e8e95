"""`python3 -m consoleproxy.console_server`: keeps one desk and a relay per processor running."""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from appliance.agent.notify import notify

_FILES = 65_536
_AGAIN_SECONDS = 0.2
_LOOK_SECONDS = 0.05
_NOVNC, _XTERM = Path("/usr/share/novnc"), Path("/usr/share/javascript/xterm")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="console_server", description=__doc__)
    runtime = os.environ.get("RUNTIME_DIRECTORY", "/run/sysvm-console")
    parser.add_argument("--config", type=Path, default=Path("/run/sysvm/console/config.json"))
    parser.add_argument("--runtime-directory", type=Path, default=Path(runtime))
    parser.add_argument("--relays", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--novnc", type=Path, default=_NOVNC)
    parser.add_argument("--xterm", type=Path, default=_XTERM)
    parser.add_argument("--part", default="", help="`desk` or a relay's number; else all of them")
    return parser.parse_args()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


class _Parts:
    """The processes. One that ends is begun again: the others don't notice."""

    def __init__(self, relays: int) -> None:
        self._names = ["desk", *(str(number) for number in range(relays))]
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._signal, signal.SIGHUP)
        keepers = [asyncio.create_task(self._keep(name)) for name in self._names]
        await stop.wait()
        for keeper in keepers:
            keeper.cancel()
        self._signal(signal.SIGTERM)
        for process in self._running.values():
            await process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, name: str) -> None:
        module = "consoleproxy.console_server"
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *sys.argv[1:], "--part", name
            )
            self._running[name] = process
            status = await process.wait()
            print(f"{name} ended with {status}", file=sys.stderr, flush=True)
            await asyncio.sleep(_AGAIN_SECONDS)


async def _desk(options: argparse.Namespace) -> None:
    from consoleproxy.console_server.desk import Desk

    desk = Desk(options.config, options.runtime_directory)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, desk.reload)
    await desk.run(_stop_on_signals())


async def _relay(options: argparse.Namespace) -> None:
    from consoleproxy.console_server.pages import Pages
    from consoleproxy.console_server.relay import Relay

    pages = Pages(Path(__file__).parent / "page", {"novnc": options.novnc, "xterm": options.xterm})
    relay = Relay(int(options.part), options.config, options.runtime_directory, pages)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(relay.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    await relay.run(_stop_on_signals())


async def _all(options: argparse.Namespace) -> None:
    stop = _stop_on_signals()
    parts = asyncio.create_task(_Parts(options.relays).run(stop))
    while not parts.done() and not await _serves(options.runtime_directory / "control.sock", options.relays):
        await asyncio.sleep(_LOOK_SECONDS)
    notify("READY=1")
    await parts


async def _serves(path: Path, relays: int) -> bool:
    """Whether the desk is there and knows all relays."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /health HTTP/1.1\r\n\r\n")
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return len(json.loads(body)["relays"]) == relays
    except (OSError, ValueError, KeyError):
        return False


def _run(part: Callable[[argparse.Namespace], Awaitable[None]], options: argparse.Namespace) -> None:
    async def main() -> None:
        await part(options)

    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())


def main() -> None:
    options = _options()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    match options.part:
        case "":
            asyncio.run(_all(options))
        case "desk":
            _run(_desk, options)
        case _:
            _run(_relay, options)


if __name__ == "__main__":
    main()
