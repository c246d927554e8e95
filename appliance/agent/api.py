"""The agent's HTTP API: documents in, state out."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from appliance.agent import (
    forwarding,
    load_balancing,
    metrics,
    next_hops,
    openapi,
    problem,
    questions,
    redundancy,
)
from appliance.agent.controller import Controller, GenerationConflictError
from appliance.agent.health import Health
from appliance.agent.hits import hits
from appliance.agent.storage import storage
from appliance.agent.usage import Usage
from appliance.agent.version import versions
from appliance.agent.vpn import wireguard
from appliance.agent.vpn.session import Session
from appliance.engine.checker import CheckError
from appliance.engine.transaction import ConvergeError
from appliance.model import Problem, RefusedError, strict_json
from appliance.roles import document_model, role

MOST_BYTES = 32 * 1024 * 1024
"""Of a request's body: ten thousand of everything is 5 MB."""
_MOST_CONFIRM_SECONDS = 3600.0
_MERGE_PATCH = "application/merge-patch+json"


class _MalformedError(Exception):
    """A request whose body or query can't be read."""


def create(
    controller: Controller,
    health: Health,
    usage: Usage,
    capabilities: Mapping[str, bool],
    sessions: Callable[[], Sequence[Session]] = lambda: (),
) -> Flask:
    """`sessions` are those of tunnels and remote users."""
    app = Flask("sysvm")
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    _errors(app)
    model = document_model(controller.boot.role)
    questions.register(app, controller, _body)
    forwarding.register(app, role(controller.boot.role).APIS)

    @app.put("/v1/config")
    def put_config() -> Response:
        return jsonify(controller.put(_body(), confirm=_confirm_seconds()).as_json())

    @app.patch("/v1/config")
    def patch_config() -> Response:
        return jsonify(controller.patch(_body(), confirm=_confirm_seconds()).as_json())

    @app.get("/v1/config")
    def get_config() -> Response:
        running = controller.running
        response = jsonify(running.model_dump(mode="json", exclude_unset=True))
        response.set_etag(str(running.generation))
        return response

    @app.post("/v1/plan")
    def post_plan() -> Response:
        return jsonify({"changes": controller.plan(_body())})

    @app.post("/v1/confirm")
    def post_confirm() -> Response:
        if not controller.confirm():
            raise GenerationConflictError("There is no change that waits to be confirmed")
        return jsonify({"generation": controller.running.generation, "state": controller.state})

    @app.get("/v1/status")
    def get_status() -> Response:
        pair = redundancy.status()
        watched = next_hops.told(controller.wanted, controller.host)
        return jsonify(
            {
                "role": controller.boot.role,
                "name": controller.boot.name,
                "generation": controller.running.generation,
                "state": controller.state,
                "detail": controller.detail,
                "warnings": controller.warnings(),
                "capabilities": dict(capabilities),
                "storage": storage(controller.host.persistent),
                "versions": versions(),
                "started_at": controller.started_at,
            }
            | ({"redundancy": pair} if pair is not None else {})
            | ({"routes": watched} if watched else {})
        )

    @app.post("/v1/switch-over")
    def post_switch_over() -> Response:
        return jsonify(redundancy.switch_over())

    @app.get("/v1/health")
    def get_health() -> Response:
        results = health.refresh() if "fresh" in request.args else health.results()
        ok = all(result.ok for result in results)
        checks = [
            {
                "name": result.name,
                "ok": result.ok,
                "detail": result.detail,
                "seconds": result.seconds,
                "at": result.at,
            }
            for result in results
        ]
        return jsonify({"ok": ok, "checks": checks})

    @app.get("/v1/usage")
    def get_usage() -> Response:
        return jsonify(usage.save())

    @app.get("/v1/hits")
    def get_hits() -> Response:
        return jsonify(hits(controller.running, controller.host))

    @app.get("/v1/load-balancers")
    def get_load_balancers() -> Response:
        return jsonify(load_balancing.statistics(controller.wanted))

    @app.get("/v1/vpn")
    def get_vpn() -> Response:
        return jsonify(
            {
                "wireguard": wireguard.state(controller.host),
                "ipsec": [session.as_json() for session in sessions()],
            }
        )

    @app.get("/v1/diagnostics")
    def get_diagnostics() -> Response:
        views = {
            "status": get_status, "health": get_health, "usage": get_usage, "hits": get_hits,
            "load-balancers": get_load_balancers, "vpn": get_vpn, "config": get_config,
        }  # fmt: skip
        return questions.diagnostics(controller, views)

    @app.get("/metrics")
    def get_metrics() -> Response:
        text = metrics.render(
            controller,
            health.results(),
            usage.save(),
            tunnels=wireguard.state(controller.host),
            sessions=sessions(),
            pair=redundancy.status(),
        )
        return Response(text, content_type=metrics.CONTENT_TYPE)

    @app.get("/v1/openapi.json")
    def get_openapi() -> Response:
        return jsonify(openapi.describe(model))

    return app


def _body() -> Any:
    if request.mimetype not in ("application/json", _MERGE_PATCH):
        raise _MalformedError("The body must be application/json")
    try:
        return strict_json(request.get_data(cache=False))
    except (ValueError, RecursionError) as error:
        raise _MalformedError(f"The body is not JSON: {error}") from None


def _confirm_seconds() -> float | None:
    text = request.args.get("confirm")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_CONFIRM_SECONDS:
        raise _MalformedError(f"confirm must be a number of seconds up to {_MOST_CONFIRM_SECONDS:g}")
    return seconds


def _errors(app: Flask) -> None:
    @app.errorhandler(_MalformedError)
    def malformed(error: _MalformedError) -> Response:
        return problem.response(HTTPStatus.BAD_REQUEST, "malformed-request", str(error))

    @app.errorhandler(RecursionError)
    def nested(error: RecursionError) -> Response:
        # The parser takes deeper values than a merge of them can walk; nothing was touched yet.
        return problem.response(HTTPStatus.BAD_REQUEST, "malformed-request", "The body is nested too deep")

    @app.errorhandler(RefusedError)
    def refused(error: RefusedError) -> Response:
        count = len(error.problems)
        detail = error.problems[0].detail if count == 1 else f"The document has {count} problems"
        return problem.response(
            HTTPStatus.UNPROCESSABLE_ENTITY, "refused-document", detail, errors=error.problems[:100]
        )

    @app.errorhandler(CheckError)
    def failed_check(error: CheckError) -> Response:
        errors = [Problem("", str(error))]
        return problem.response(
            HTTPStatus.UNPROCESSABLE_ENTITY, "refused-by-daemon", str(error), errors=errors
        )

    @app.errorhandler(GenerationConflictError)
    def conflict(error: GenerationConflictError) -> Response:
        return problem.response(HTTPStatus.CONFLICT, "generation-conflict", str(error))

    @app.errorhandler(redundancy.RefusedSwitchError)
    def stays(error: redundancy.RefusedSwitchError) -> Response:
        return problem.response(HTTPStatus.CONFLICT, "no-switch-over", str(error))

    @app.errorhandler(ConvergeError)
    def failed(error: ConvergeError) -> Response:
        return problem.response(HTTPStatus.INTERNAL_SERVER_ERROR, "apply-failed", f"{error}. Went back.")

    @app.errorhandler(OSError)
    def storage(error: OSError) -> Response:
        return problem.response(HTTPStatus.INSUFFICIENT_STORAGE, "not-kept", f"Failed to keep it: {error}")

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or 500)
        return problem.response(status, status.phrase.lower().replace(" ", "-"), error.description or "")
