"""What hypercorn's WSGI side needs to carry every request and answer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def for_hypercorn(app: WSGIApplication) -> WSGIApplication:
    """An application as hypercorn has to be given it.

    Hypercorn has read a body whole before the application runs, but says its length only where the client
    did: without one (chunked, HTTP/2) werkzeug takes it for empty. And it sends the head of an answer with
    the first piece of its body, never that of one without a piece (204, 304).
    """

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "CONTENT_LENGTH" not in environ:
            environ["CONTENT_LENGTH"] = str(environ["wsgi.input"].getbuffer().nbytes)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        body = app(environ, start_response)
        return ClosingIterator(chain(body, [b""]), getattr(body, "close", None))

    return call
