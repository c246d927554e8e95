"""The client of an agent's HTTP API: JSON over HTTPS, mutual TLS.

The peer is found by its control address and known by its name: its certificate must carry the appliance's
name as DNS SAN (RFC 9525), whatever address it answers from.
"""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from appliance.boot import API_PORT
from appliance.model import Problem

CONNECT_TIMEOUT = 3.0
"""Seconds for TCP; a live machine on the control network answers in milliseconds."""
HANDSHAKE_TIMEOUT = 10.0
"""Seconds for TLS; a machine that is busy booting may take a few."""
ANSWER_TIMEOUT = 3600.0
"""Seconds of silence before an answer. A long apply is silent and yet makes progress, and is not to be
given up on; whether the machine is still there at all is TCP's to find out, see `_connect`."""
_PIECE = 1 << 16
LARGEST_ANSWER = 64 * 2**20
"""Bytes. An appliance that somebody else has taken over shouldn't fill the management plane's memory."""


class AgentError(Exception):
    """What an agent, or the way to it, said no with. The text is a sentence to show as it is."""


class UnreachableError(AgentError):
    """No connection, or one that broke. What was asked for may have been done all the same."""


class FailedError(AgentError):
    """An answer that isn't a result: an HTTP error other than 409 and 422, or no JSON."""

    def __init__(self, detail: str, *, status: int) -> None:
        super().__init__(detail)
        self.status = status


class ConflictError(AgentError):
    """409: the appliance has seen a newer generation, or another document of the same one."""


class RefusedByAgentError(AgentError):
    """422: the appliance can't have this document."""

    def __init__(self, detail: str, *, problems: tuple[Problem, ...]) -> None:
        super().__init__(detail)
        self.problems = problems


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an apply, or a plan of one, came to."""

    generation: int
    state: str
    changes: tuple[Any, ...]
    seconds: float | None
    digest: str | None
    detail: str | None
    answer: Mapping[str, Any] = field(repr=False)
    """The whole answer; agents may say more than this class knows of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    generation: int
    """0 where no document was ever put."""
    state: str
    """converged, drifted, degraded or empty."""
    digest: str | None
    detail: str | None
    answer: Mapping[str, Any] = field(repr=False)


class Agent:
    """One appliance's agent, over one connection that is made when first needed. Not for several threads.

    Every request raises an AgentError.
    """

    def __init__(
        self,
        *,
        name: str,
        host: str,
        context: ssl.SSLContext,
        port: int = API_PORT,
        connect_timeout: float = CONNECT_TIMEOUT,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._context = context
        self._connect_timeout = connect_timeout
        self._handshake_timeout = handshake_timeout
        self._answer_timeout = answer_timeout
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> "Agent":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def put(self, document: str | bytes, *, confirm: int | None = None) -> Report:
        """Apply a whole document (JSON). With `confirm` it goes back by itself after that many seconds
        unless `confirm()` is called. Raises ConflictError, RefusedByAgentError."""
        return _report(self._json("PUT", "/v1/config" + _query(confirm), document))

    def patch(self, patch: Mapping[str, Any], *, confirm: int | None = None) -> Report:
        """Apply an RFC 7396 merge patch of what runs; answers as `put`."""
        content_type = "application/merge-patch+json"
        path = "/v1/config" + _query(confirm)
        return _report(self._json("PATCH", path, json.dumps(patch), content_type=content_type))

    def plan(self, document: str | bytes) -> Report:
        """What `put` would change, changing nothing. Raises ConflictError, RefusedByAgentError."""
        return _report(self._json("POST", "/v1/plan", document))

    def confirm(self) -> None:
        self._request("POST", "/v1/confirm", b"")

    def config(self) -> dict[str, Any]:
        """The document that runs, its secrets masked."""
        return self._json("GET", "/v1/config")

    def status(self) -> Status:
        answer = self._json("GET", "/v1/status")
        return Status(
            generation=_whole(answer, "generation"),
            state=_text(answer, "state"),
            digest=_optional_text(answer, "digest"),
            detail=_detail(answer),
            answer=answer,
        )

    def health(self, *, fresh: bool = False) -> Any:
        """What the probes found last, or, `fresh`, what they find now."""
        path = "/v1/health?fresh" if fresh else "/v1/health"
        return self._decoded(self._request("GET", path, answers=(200, 503))[1])

    def usage(self) -> Any:
        return self._decoded(self._request("GET", "/v1/usage")[1])

    def switch_over(self) -> dict[str, Any]:
        """Have its peer take over; the state after that. Raises ConflictError where that can't be now."""
        return self._json("POST", "/v1/switch-over", b"")

    def hits(self) -> Any:
        return self._decoded(self._request("GET", "/v1/hits")[1])

    def load_balancers(self) -> dict[str, Any]:
        """What they and their servers do."""
        return self._json("GET", "/v1/load-balancers")

    def vpn(self) -> dict[str, Any]:
        """Its tunnels and their peers as they are now."""
        return self._json("GET", "/v1/vpn")

    def ask(
        self, method: str, path: str, *,
        body: Any = None, query: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """A question about packets: /v1/explain, /v1/connections, /v1/diagnostics/... Raises
        RefusedByAgentError."""
        content = None if body is None else json.dumps(body)
        return self._decoded(self._request(method, _with_query(path, query or {}), content)[1])

    def capture(self, query: Mapping[str, Any]) -> Iterator[bytes]:
        """Packets of a link as a pcap file, piece by piece: `link`, and what limits it. Raises
        RefusedByAgentError before the first piece. The connection is of no use for anything else until it
        ends; `close` ends it early."""
        return self._stream("/v1/capture", query)

    def diagnostics(self) -> Iterator[bytes]:
        """All that is known of it, as a compressed archive, piece by piece; as `capture`."""
        return self._stream("/v1/diagnostics", {})

    def _stream(self, path: str, query: Mapping[str, Any]) -> Iterator[bytes]:
        connection = self._connection = self._connection or self._connect()
        try:
            # So that the agent knows when we hang up.
            headers = {"Client-Port": str(connection.sock.getsockname()[1])} if connection.sock else {}
            connection.request("GET", _with_query(path, query), headers=headers)
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise self._failure(response.status, response.read(LARGEST_ANSWER))
            while piece := response.read1(_PIECE):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(self._unreachable(error)) from error
        finally:
            self.close()

    def _json(
        self, method: str, path: str, body: str | bytes | None = None, *,
        content_type: str = "application/json",
    ) -> dict[str, Any]:  # fmt: skip
        value = self._decoded(self._request(method, path, body, content_type=content_type)[1])
        if not isinstance(value, dict):
            raise FailedError(f"{self._name} answered {method} {path} with no JSON object.", status=200)
        return value

    def _decoded(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise FailedError(f"{self._name} answered with something that isn't JSON.", status=200) from None

    def _request(
        self, method: str, path: str, body: str | bytes | None = None, *,
        content_type: str = "application/json", answers: tuple[int, ...] = (200, 202, 204),
    ) -> tuple[int, bytes]:  # fmt: skip
        headers = {"Accept": "application/json, application/problem+json"}
        if body is not None:
            headers["Content-Type"] = content_type
        content = body.encode() if isinstance(body, str) else body
        try:
            if self._connection is None:
                self._connection = self._connect()
            try:
                self._connection.request(method, path, content, headers)
            except (BrokenPipeError, ConnectionResetError):
                # A server that doesn't want the body says so and hangs up before it has read it all.
                if self._connection.sock is None:
                    raise
            response = self._connection.getresponse()
            answer = response.read(LARGEST_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(self._unreachable(error)) from error
        if response.will_close or len(answer) > LARGEST_ANSWER:
            self.close()
        if response.status in answers and len(answer) <= LARGEST_ANSWER:
            return response.status, answer
        raise self._failure(response.status, answer)

    def _connect(self) -> http.client.HTTPConnection:
        connection = socket.create_connection((self._host, self._port), timeout=self._connect_timeout)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # tcp(7): ask a silent peer after 10 s, every 5 s; give up when 30 s go by without any sign of
            # life. So a slow agent has all the time it wants, and a dead machine half a minute.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
            connection.settimeout(self._handshake_timeout)
            secure = self._context.wrap_socket(connection, server_hostname=self._name)
        except BaseException:
            connection.close()
            raise
        secure.settimeout(self._answer_timeout)
        http_connection = http.client.HTTPConnection(self._name, self._port)
        http_connection.sock = secure
        # Without this, http.client would connect anew by itself: to the name, and without TLS.
        http_connection.auto_open = 0
        return http_connection

    def _unreachable(self, error: Exception) -> str:
        where = f"{self._name} at {self._host} port {self._port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"{where} shows a certificate that isn't good: {error.verify_message}."
        if isinstance(error, TimeoutError):
            return f"{where} didn't answer in time."
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"{where} can't be reached: {said or type(error).__name__}."

    def _failure(self, status: int, content: bytes) -> AgentError:
        problem: Any = {}
        with contextlib.suppress(ValueError, RecursionError):
            problem = json.loads(content)
        if not isinstance(problem, dict):
            problem = {}
        said = problem.get("detail") or problem.get("title") or http.client.responses.get(status, "")
        detail = f"{self._name} answered {status}: {said}"
        if status == http.client.CONFLICT:
            return ConflictError(detail)
        if status == http.client.UNPROCESSABLE_ENTITY:
            return RefusedByAgentError(detail, problems=tuple(_problems(problem.get("errors"))))
        return FailedError(detail, status=status)


def _with_query(path: str, query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _query(confirm: int | None) -> str:
    return "" if confirm is None else f"?confirm={confirm}"


def _problems(errors: object) -> list[Problem]:
    if not isinstance(errors, list):
        return []
    return [
        Problem(pointer=str(error.get("pointer", "")), detail=str(error.get("detail", "")))
        for error in errors
        if isinstance(error, dict)
    ]


def _report(answer: dict[str, Any]) -> Report:
    changes = answer.get("changes", [])
    seconds = answer.get("seconds")
    return Report(
        generation=_whole(answer, "generation"),
        state=str(answer.get("state", "planned")),
        changes=tuple(changes) if isinstance(changes, list) else (),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        digest=_optional_text(answer, "digest"),
        detail=_detail(answer),
        answer=answer,
    )


def _whole(answer: Mapping[str, Any], key: str) -> int:
    value = answer.get(key)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise FailedError(f"The agent's {key} is no whole number.", status=200)
    return value


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise FailedError(f"The agent's {key} is no text.", status=200)
    return value


def _optional_text(answer: Mapping[str, Any], key: str) -> str | None:
    value = answer.get(key)
    return value if isinstance(value, str) else None


def _detail(answer: Mapping[str, Any]) -> str | None:
    return _optional_text(answer, "detail") or _optional_text(answer, "error")
