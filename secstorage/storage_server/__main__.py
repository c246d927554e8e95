"""`python3 -m secstorage.storage_server`"""

import argparse
import asyncio
import logging
import signal
import sys
import threading
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config

from appliance.agent.notify import notify
from appliance.wsgi import for_hypercorn
from secstorage.storage_server import api, settings
from secstorage.storage_server.scheduler import Scheduler

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_RUNTIME = Path("/run/sysvm-storage")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="storage_server", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/run/sysvm/storage/config.json"))
    parser.add_argument("--socket", type=Path, default=_RUNTIME / "api.sock")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    options = _options()
    found = settings.read(options.config)
    # A container has its host's boot id; the owner of its process 1's start is its own.
    started = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    scheduler = Scheduler(found, f"{found.appliance} {_BOOT.read_text().strip()} {started}")
    stop = threading.Event()
    running = threading.Thread(target=scheduler.run, args=(stop,), name="scheduler")
    running.start()
    try:
        asyncio.run(_serve(options, scheduler))
    finally:
        stop.set()
        scheduler.wake()
        running.join()


async def _serve(options: argparse.Namespace, scheduler: Scheduler) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def reload() -> None:
        try:
            scheduler.change(settings.read(options.config))
        except Exception:
            logging.exception("The new configuration can't be used")

    loop.add_signal_handler(signal.SIGHUP, reload)
    config = Config()
    config.bind = [f"unix:{options.socket}"]
    config.umask = 0o077
    config.accesslog = None
    config.include_server_header = False
    config.wsgi_max_body_size = 2 * api.MOST_BYTES
    config.graceful_timeout = 1
    app = api.create(scheduler)
    app.wsgi_app = for_hypercorn(app.wsgi_app)  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=ended.wait, mode="wsgi"))
    while not serving.done() and not await _listens(options.socket):
        await asyncio.sleep(0.01)
    notify("READY=1")
    await serving


async def _listens(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


if __name__ == "__main__":
    main()
