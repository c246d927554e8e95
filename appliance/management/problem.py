"""Errors as HTTP says them: application/problem+json (RFC 9457), with JSON pointers where there are any."""

import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from appliance.management import inventory
from appliance.management.authority import InvalidNameError
from appliance.management.client import AgentError, ConflictError, FailedError, RefusedByAgentError
from appliance.management.submission import NotJsonError
from appliance.model import Problem, RefusedError
from appliance.roles import UnknownRoleError

log = logging.getLogger("sysvm.management")


class BadQueryError(ValueError):
    """A parameter of the query that doesn't say what it should."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(f"The parameter {name} must be {wanted}.")


def problem(
    status: int, detail: str, *, title: str | None = None, problems: Iterable[Problem] = (), **members: Any
) -> Response:
    """`members` are further members of the object (RFC 9457 section 3.2)."""
    content: dict[str, Any] = {
        "title": title or HTTPStatus(status).phrase, "status": status, "detail": detail,
    }  # fmt: skip
    errors = [{"pointer": error.pointer, "detail": error.detail} for error in problems]
    if errors:
        content["errors"] = errors
    return Response(json.dumps(content | members), status=status, content_type="application/problem+json")


def refused(problems: Iterable[Problem], **members: Any) -> Response:
    found = list(problems)
    detail = "; ".join(f"{error.pointer}: {error.detail}" for error in found[:3])
    if len(found) > 3:
        detail += f"; and {len(found) - 3} more"
    return problem(422, detail, title="The document can't be accepted", problems=found, **members)


def register(app: Flask) -> None:
    """Answer every exception that a view lets out with a problem."""

    @app.errorhandler(RefusedError)
    def on_refused(error: RefusedError) -> Response:
        return refused(error.problems)

    @app.errorhandler(NotJsonError)
    def on_no_json(error: NotJsonError) -> Response:
        return problem(400, str(error), title="The body isn't JSON")

    @app.errorhandler(BadQueryError)
    def on_query(error: BadQueryError) -> Response:
        return problem(400, str(error))

    @app.errorhandler(inventory.UnknownApplianceError)
    @app.errorhandler(inventory.UnknownGenerationError)
    def on_unknown(error: Exception) -> Response:
        return problem(404, str(error))

    @app.errorhandler(inventory.NameTakenError)
    def on_taken(error: Exception) -> Response:
        return problem(409, str(error))

    @app.errorhandler(InvalidNameError)
    def on_name(error: Exception) -> Response:
        return refused([Problem("/name", str(error))])

    @app.errorhandler(UnknownRoleError)
    def on_role(error: Exception) -> Response:
        return refused([Problem("/role", str(error))])

    @app.errorhandler(AgentError)
    def on_agent(error: AgentError) -> Response:
        if isinstance(error, RefusedByAgentError):
            return problem(422, str(error), title="The appliance refuses it", problems=error.problems)
        if isinstance(error, ConflictError):
            return problem(409, str(error))
        if isinstance(error, FailedError) and error.status in (429, 501):
            return problem(error.status, str(error))
        return problem(502, str(error), title="The appliance doesn't answer as it should")

    @app.errorhandler(HTTPException)
    def on_http(error: HTTPException) -> Response:
        answer = problem(error.code or 500, error.description or "")
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after", "www-authenticate", "location"):
                answer.headers[name] = value
        return answer

    @app.errorhandler(Exception)
    def on_anything(error: Exception) -> Response:
        log.exception("A request failed")
        return problem(500, "This is a fault of the management plane; its log says more.")
