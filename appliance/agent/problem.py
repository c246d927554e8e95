"""Errors as `application/problem+json` (RFC 9457): a title, a sentence, and where the document is wrong."""

from http import HTTPStatus

from flask import Response, json

from appliance.model import Problem

_TYPES = "urn:sysvm:problem:"


def response(
    status: HTTPStatus, kind: str, detail: str, *, errors: list[Problem] | None = None, **more: object
) -> Response:
    """`errors` are listed with their JSON pointers; `kind` ends the problem's type URI."""
    content: dict[str, object] = {
        "type": _TYPES + kind,
        "title": kind.replace("-", " ").capitalize(),
        "status": int(status),
        "detail": detail,
        **more,
    }
    if errors is not None:
        content["errors"] = [{"pointer": error.pointer, "detail": error.detail} for error in errors]
    return Response(json.dumps(content), status=int(status), content_type="application/problem+json")
