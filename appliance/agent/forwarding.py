"""The API of a role's own daemon, behind the agent's mutual TLS: the daemon holds no key, and its socket is
open to root alone."""

import socket
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, Response, request

from appliance.agent import problem

_METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"]
_SECONDS = 30.0
_TOLD = ("Content-Type", "If-Match", "If-None-Match")
_RETURNED = ("Content-Type", "ETag", "Location", "Retry-After")


def register(app: Flask, apis: Mapping[str, str]) -> None:
    """Ask the daemon behind the unix socket for all below /v1/NAME/."""
    for name, path in apis.items():
        _register(app, name, path)


def _register(app: Flask, name: str, path: str) -> None:
    def forward(rest: str) -> Response:
        # With the first question: an agent starts without.
        import http.client

        try:
            return _asked(path)
        except (OSError, http.client.HTTPException) as error:
            detail = f"The daemon behind /v1/{name}/ doesn't answer: {error or type(error).__name__}"
            return problem.response(HTTPStatus.SERVICE_UNAVAILABLE, "not-served", detail)

    app.add_url_rule(f"/v1/{name}/<path:rest>", f"forward_{name}", forward, methods=_METHODS)


def _asked(path: str) -> Response:
    from http.client import HTTPConnection

    target = quote(request.path, safe="/")
    if query := request.query_string.decode("ascii", "replace"):
        target += f"?{query}"
    connection = HTTPConnection("localhost", timeout=_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(path)
        headers = {key: value for key in _TOLD if (value := request.headers.get(key)) is not None}
        connection.request(request.method, target, body=request.get_data(cache=False), headers=headers)
        answer = connection.getresponse()
        told = {key: value for key in _RETURNED if (value := answer.getheader(key)) is not None}
        return Response(answer.read(), status=answer.status, headers=told)
    finally:
        connection.close()
