"""The API of jobs, entries and stores; docs/secstorage.md describes it. It is asked by the agent, behind
whose mutual TLS it is."""

import sqlite3
from http import HTTPStatus
from typing import Annotated, Any

from flask import Flask, Response, jsonify, request
from pydantic import Field
from werkzeug.exceptions import HTTPException

from appliance.address import Name
from appliance.agent import problem
from appliance.model import Model, Problem, RefusedError, strict_json, validated
from secstorage.storage_server.journal import LeaseLostError
from secstorage.storage_server.request import Submission
from secstorage.storage_server.scheduler import RefusedJobError, Scheduler
from secstorage.storage_server.store import Store, UnavailableError

MOST_BYTES = 1 << 20
_BASE = "/v1/storage"


class _Key(Model):
    id: Name


class _Priority(Model):
    priority: Annotated[int, Field(ge=0, le=9)]


def create(scheduler: Scheduler) -> Flask:
    app = Flask("secstorage")
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    _errors(app)

    @app.put(f"{_BASE}/jobs/<job>")
    def put_job(job: str) -> tuple[Response, int]:
        validated(_Key, {"id": job})
        try:
            wanted = validated(Submission, {"job": _body()}).job
        except RefusedError as error:
            told = [Problem(each.pointer.removeprefix("/job"), each.detail) for each in error.problems]
            raise RefusedError(told) from None
        found, new = scheduler.submit(job, wanted)
        return jsonify(found), HTTPStatus.CREATED if new else HTTPStatus.OK

    @app.get(f"{_BASE}/jobs")
    def get_jobs() -> Response:
        state = request.args.get("state")
        return jsonify({"jobs": [job for job in scheduler.jobs() if state in (None, job["state"])]})

    @app.get(f"{_BASE}/jobs/<job>")
    def get_job(job: str) -> Response:
        return jsonify(scheduler.told(job))

    @app.patch(f"{_BASE}/jobs/<job>")
    def patch_job(job: str) -> Response:
        return jsonify(scheduler.prioritise(job, validated(_Priority, _body()).priority))

    @app.post(f"{_BASE}/jobs/<job>/cancel")
    def cancel_job(job: str) -> Response:
        return jsonify(scheduler.cancel(job))

    @app.post(f"{_BASE}/jobs/<job>/retry")
    def retry_job(job: str) -> Response:
        return jsonify(scheduler.retry(job))

    @app.delete(f"{_BASE}/jobs/<job>")
    def delete_job(job: str) -> tuple[str, int]:
        scheduler.forget(job)
        return "", HTTPStatus.NO_CONTENT

    @app.get(f"{_BASE}/stores")
    def get_stores() -> Response:
        return jsonify(
            {"stores": {name: _store(store) for name, store in sorted(scheduler.stores().items())}}
        )

    @app.get(f"{_BASE}/stores/<name>/health")
    def get_store_health(name: str) -> tuple[Response, int]:
        told = _store(scheduler.stores()[name])
        return jsonify(told), HTTPStatus.OK if told["open"] and told["detail"] == "ok" else 503

    @app.get(f"{_BASE}/stores/<name>/entries")
    def get_entries(name: str) -> Response:
        store = scheduler.stores()[name]
        if not store.is_open:
            raise UnavailableError(f"Store {name}: {store.detail}")
        kind = request.args.get("kind")
        entries = store.entries.values()
        return jsonify({"entries": [item for item in entries if kind in (None, item["kind"])]})

    @app.get(f"{_BASE}/health")
    def get_health() -> Response:
        return jsonify({"stores": len(scheduler.stores())})

    return app


def _store(store: Store) -> dict[str, Any]:
    told: dict[str, Any] = {"state": store.settings.state, "open": store.is_open, "detail": store.detail}
    if store.is_open:
        told |= {"latency_seconds": store.latency, "entries": len(store.entries), **store.room()}
    return told


def _body() -> Any:
    try:
        return strict_json(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise RefusedError([Problem("", "The body is not JSON")]) from None


def _errors(app: Flask) -> None:
    @app.errorhandler(RefusedError)
    def refused(error: RefusedError) -> Response:
        detail = error.problems[0].detail
        return problem.response(
            HTTPStatus.UNPROCESSABLE_ENTITY, "refused-job", detail, errors=error.problems[:100]
        )

    @app.errorhandler(RefusedJobError)
    def not_done(error: RefusedJobError) -> Response:
        status = HTTPStatus.CONFLICT if error.conflict else HTTPStatus.UNPROCESSABLE_ENTITY
        return problem.response(status, error.code, str(error))

    @app.errorhandler(KeyError)
    def unknown(error: KeyError) -> Response:
        return problem.response(HTTPStatus.NOT_FOUND, "not-found", f"There is no {error.args[0]}")

    @app.errorhandler(UnavailableError)
    @app.errorhandler(LeaseLostError)
    @app.errorhandler(sqlite3.Error)
    @app.errorhandler(OSError)
    def unavailable(error: Exception) -> Response:
        return problem.response(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable", str(error))

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or 500)
        return problem.response(status, status.phrase.lower().replace(" ", "-"), error.description or "")
