"""The API's questions about packets: what becomes of one, which connections there are, what passes a link,
and who answers. They change nothing."""

import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Flask, Response, jsonify, request

from appliance import roles
from appliance.agent import problem
from appliance.agent.controller import Controller
from appliance.model import Model, RefusedError, validated

log = logging.getLogger(__name__)
M = TypeVar("M", bound=Model)


class _BadQuestionError(Exception):
    def __init__(self, refused: RefusedError) -> None:
        super().__init__(str(refused))
        self.problems = refused.problems


def register(app: Flask, controller: Controller, body: Callable[[], Any]) -> None:
    # What answers is imported with the first question: an agent's start doesn't wait for it.

    @app.post("/v1/explain")
    def explain() -> Response:
        from appliance.agent import explanation
        from appliance.agent.injection import InjectionError

        question = _asked(explanation.Question, body())
        origins = roles.role(controller.boot.role).origins
        try:
            return jsonify(explanation.explain(question, controller.running, origins).as_json())
        except explanation.QuestionError as error:
            return _unanswerable(error)
        except InjectionError as error:
            return problem.response(HTTPStatus.NOT_IMPLEMENTED, "no-probe", str(error))

    @app.get("/v1/connections")
    def connections() -> Response:
        from appliance.agent import tracked

        return jsonify(tracked.listing(_asked(tracked.Listing, _numbers(request.args, ("limit",)))))

    @app.get("/v1/capture")
    def capture() -> Response:
        from appliance.agent import capture as capturing

        numbers = ("packets", "seconds", "bytes", "snap_length")
        asked = _asked(capturing.Capture, _numbers(request.args, numbers))
        try:
            # Our server says which address asked, not by which connection; who does may hang up.
            peer = str(request.environ.get("REMOTE_ADDR", "")), request.headers.get("Client-Port", "")
            pieces = capturing.begun(asked, capturing.listener(*peer))
            return Response(pieces, content_type=capturing.CONTENT_TYPE)
        except capturing.CaptureError as error:
            return _unanswerable(error)
        except capturing.BusyError as error:
            return _busy(error)

    @app.post("/v1/diagnostics/<any(ping, traceroute, arping, lookup):kind>")
    def diagnose(kind: str) -> Response:
        from appliance.agent import diagnosis

        try:
            return jsonify(diagnosis.ask(_asked(diagnosis.KINDS[kind], body())))
        except diagnosis.DiagnosisError as error:
            return _unanswerable(error)
        except diagnosis.BusyError as error:
            return _busy(error)

    @app.errorhandler(_BadQuestionError)
    def bad_question(error: _BadQuestionError) -> Response:
        detail = error.problems[0].detail if len(error.problems) == 1 else f"{len(error.problems)} problems"
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return problem.response(status, "bad-question", detail, errors=error.problems)


def diagnostics(controller: Controller, views: Mapping[str, Callable[[], Response]]) -> Response:
    """All that is known, as an archive. `views` are the API's own, by the names that they have in it."""
    from appliance.agent import bundle

    # Later there is no request any more for them to answer.
    told = {f"{name}.json": _told(view) for name, view in views.items()}
    try:
        return Response(bundle.begun(controller, told), content_type=bundle.CONTENT_TYPE)
    except bundle.BusyError as error:
        return _busy(error)


def _told(view: Callable[[], Response]) -> str:
    try:
        return view().get_data(as_text=True)
    except Exception as error:
        log.warning("Diagnostics: %s: %r", view.__name__, error)
        return f"{error!r}\n"


def _unanswerable(error: Exception) -> Response:
    return problem.response(HTTPStatus.UNPROCESSABLE_ENTITY, "no-answer", str(error))


def _busy(error: Exception) -> Response:
    return problem.response(HTTPStatus.TOO_MANY_REQUESTS, "busy", str(error))


def _asked(model: type[M], value: object) -> M:
    try:
        return validated(model, value)
    except RefusedError as error:
        raise _BadQuestionError(error) from None


def _numbers(arguments: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """The query as values: what should be a number, and is one, is."""
    return {
        name: int(text) if name in names and text.isascii() and text.isdigit() and len(text) < 16 else text
        for name, text in arguments.items()
    }
