"""The management plane as a server: Flask behind hypercorn, beside the push loop, in one process."""

import asyncio
import logging
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from appliance.management.api import LARGEST_BODY, create_app
from appliance.management.plane import Plane
from appliance.management.pusher import Pusher
from appliance.wsgi import for_hypercorn

DEFAULT_LISTEN = "127.0.0.1:8480"
REQUESTS = 256
"""Requests at once. Each that waits for an appliance holds a thread, and mustn't keep out the others."""

log = logging.getLogger("sysvm.management")


class Server:
    """Serves a plane's API until SIGTERM or SIGINT. `listen` are HOST:PORT or unix:PATH."""

    def __init__(self, plane: Plane, *, listen: Sequence[str] = (DEFAULT_LISTEN,)) -> None:
        self._plane = plane
        self._config = Config()
        self._config.bind = list(listen)
        # A Unix socket is for whoever may read the state directory's token.
        self._config.umask = 0o077
        self._config.include_server_header = False
        # Flask refuses what is larger, with a problem; past this hypercorn wouldn't even keep it to ask.
        self._config.wsgi_max_body_size = LARGEST_BODY + 2**20
        self._config.errorlog = log
        self._config.accesslog = None

    def run(self) -> None:
        """Raises OSError where an address can't be listened on."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(REQUESTS, thread_name_prefix="request"))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        app = create_app(self._plane)
        app.wsgi_app = for_hypercorn(app.wsgi_app)  # type: ignore[method-assign,assignment]
        await hypercorn_serve(
            app,
            self._config,
            shutdown_trigger=lambda: _stopped(stop, self._plane.pusher),
            mode="wsgi",
        )


async def _stopped(stop: asyncio.Event, pusher: Pusher) -> None:
    await stop.wait()
    # First of all, so that requests which wait for an appliance get their answer before the server ends.
    await asyncio.to_thread(pusher.stop)
