"""The management plane as a server: Flask behind hypercorn, beside the push loop, in one process."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from werkzeug.wsgi import ClosingIterator

from appliance.management.api import LARGEST_BODY, create_app
from appliance.management.plane import Plane
from appliance.management.pusher import Pusher

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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
        app.wsgi_app = _for_hypercorn(app.wsgi_app)  # type: ignore[method-assign,assignment]
        await hypercorn_serve(
            app,
            self._config,
            shutdown_trigger=lambda: _stopped(stop, self._plane.pusher),
            mode="wsgi",
        )


def _for_hypercorn(app: WSGIApplication) -> WSGIApplication:
    """What hypercorn's WSGI side needs to carry every request and answer.

    It has read a body whole before the application runs, but says its length only where the client did:
    without one (chunked, HTTP/2) werkzeug takes it for empty. And it sends the head of an answer with
    the first piece of its body, never that of one without a piece (204, 304).
    """

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "CONTENT_LENGTH" not in environ:
            environ["CONTENT_LENGTH"] = str(environ["wsgi.input"].getbuffer().nbytes)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        body = app(environ, start_response)
        return ClosingIterator(chain(body, [b""]), getattr(body, "close", None))

    return call


async def _stopped(stop: asyncio.Event, pusher: Pusher) -> None:
    await stop.wait()
    # First of all, so that requests which wait for an appliance get their answer before the server ends.
    await asyncio.to_thread(pusher.stop)
