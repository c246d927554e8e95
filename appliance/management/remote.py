"""The client of the management plane's HTTP API, for the command line."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from appliance.model import Problem

_LONGEST_CAPTURE = 600.0
"""Seconds in which no packet need come."""


class RemoteError(Exception):
    """The management plane can't be reached, or said no; the text is a sentence to show."""

    def __init__(self, detail: str, *, status: int = 0, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.problems = problems


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    address: str
    """http://HOST:PORT, or unix:PATH."""
    token: str = field(repr=False)
    timeout: float = 180.0
    """Seconds of silence before an answer, the time that is waited for an appliance not counted."""

    def ask(
        self, method: str, path: str, *, body: Any = None, query: Mapping[str, Any] | None = None,
        wait: float = 0.0, content_type: str = "application/json",
    ) -> tuple[int, Any]:  # fmt: skip
        """Status and JSON of an answer. Raises RemoteError for any error."""
        parameters = dict(query or {}) | ({"wait": f"{wait:g}"} if wait else {})
        target = path + (f"?{urlencode(parameters)}" if parameters else "")
        headers = {"Authorization": f"Bearer {self.token}"}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        connection = self._connection(self.timeout + wait)
        try:
            connection.request(method, target, content, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise RemoteError(
                f"The management plane at {self.address} can't be reached: {said or type(error).__name__}."
            ) from error
        finally:
            connection.close()
        try:
            value = json.loads(answer) if answer else None
        except ValueError:
            raise RemoteError(
                f"{self.address} answered {response.status} with something that isn't JSON; "
                "is it the management plane?"
            ) from None
        if response.status >= 400:
            raise _error(response.status, value)
        return response.status, value

    def stream(self, path: str, query: Mapping[str, Any]) -> Iterator[bytes]:
        """An answer piece by piece, as it comes. Raises RemoteError."""
        target = f"{path}?{urlencode(query)}"
        connection = self._connection(self.timeout + _LONGEST_CAPTURE)
        try:
            connection.request("GET", target, None, {"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            if response.status >= 400:
                with contextlib.suppress(ValueError):
                    raise _error(response.status, json.loads(response.read()))
                raise RemoteError(f"The answer was {response.status}.", status=response.status)
            while piece := response.read1(1 << 16):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise RemoteError(f"The answer broke off: {error or type(error).__name__}.") from error
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            return _UnixConnection(self.address.removeprefix("unix:"), timeout)
        parts = urlsplit(self.address)
        if parts.scheme != "http" or not parts.hostname:
            raise RemoteError(f"{self.address!r} is no address of a management plane: http://HOST:PORT.")
        return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)


def _error(status: int, value: Any) -> RemoteError:
    problem = value if isinstance(value, dict) else {}
    problems = tuple(
        Problem(pointer=str(error.get("pointer", "")), detail=str(error.get("detail", "")))
        for error in problem.get("errors", [])
    )
    title, detail = problem.get("title"), problem.get("detail")
    text = f"{title}." if problems else str(detail or title or f"The answer was {status}.")
    return RemoteError(text, status=status, problems=problems)
