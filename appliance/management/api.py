"""The management plane's HTTP API: JSON, errors as problems, a bearer token (RFC 6750) on every route but
/healthz."""

import hmac
import json
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Request, Response, request

from appliance.management import metrics, problem, questions
from appliance.management.authority import boot_json
from appliance.management.inventory import Appliance, StaleError, Stored
from appliance.management.openapi import description
from appliance.management.placement import Placement, Placements
from appliance.management.plane import Plane
from appliance.management.pusher import is_converged
from appliance.management.submission import NewAppliance, parsed
from appliance.model import validated

LARGEST_BODY = 64 * 2**20
"""Bytes."""
LONGEST_WAIT = 3600.0
"""Seconds."""


def create_app(plane: Plane) -> Flask:
    app = Flask("sysvm")
    placements = Placements(plane.inventory)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    problem.register(app)

    @app.before_request
    def authenticate() -> Response | None:
        if request.path == "/healthz" or _is_token(request, plane.token):
            return None
        answer = problem.problem(401, "Send the management plane's token as Authorization: Bearer TOKEN.")
        answer.headers["WWW-Authenticate"] = 'Bearer realm="sysvm"'
        return answer

    @app.errorhandler(StaleError)
    def on_stale(error: StaleError) -> Response:
        # What If-Match said no to is 412 (RFC 9110 section 13.1.1); what the document itself says is 409.
        status = 412 if "If-Match" in request.headers else 409
        return problem.problem(status, str(error), generation=error.current)

    @app.get("/healthz")
    def healthz() -> Any:
        plane.inventory.states()
        return {"status": "ok"}

    @app.get("/metrics")
    def prometheus() -> Response:
        appliances = plane.inventory.appliances()
        text = plane.metrics.text(
            states=plane.inventory.states(), appliances=appliances, pairs=plane.pusher.pairs.states()
        )
        return Response(text, content_type=metrics.CONTENT_TYPE)

    @app.get("/v1/openapi.json")
    def openapi() -> Any:
        return description()

    @app.get("/v1/appliances")
    def appliances() -> Any:
        return {"appliances": [summary(appliance) for appliance in plane.inventory.appliances()]}

    @app.post("/v1/appliances")
    def create() -> Any:
        new = validated(NewAppliance, parsed(request.get_data()))
        boot = plane.create(name=new.name, role=new.role, control=new.control, port=new.port)
        content = {
            "appliance": summary(plane.inventory.appliance(new.name)),
            "boot": json.loads(boot_json(boot)),
        }
        return content, 201, {"Location": f"/v1/appliances/{new.name}", "Cache-Control": "no-store"}

    @app.get("/v1/appliances/<name>")
    def show(name: str) -> Any:
        appliance = plane.inventory.appliance(name)
        return summary(appliance) | {"generations": plane.inventory.generations(name)}

    @app.delete("/v1/appliances/<name>")
    def delete(name: str) -> Any:
        plane.delete(name)
        return "", 204

    @app.post("/v1/appliances/<name>/boot")
    def boot(name: str) -> Any:
        content = json.loads(boot_json(plane.reissue(name)))
        return content, 200, {"Cache-Control": "no-store"}

    @app.get("/v1/appliances/<name>/placement")
    def placement(name: str) -> Any:
        found = placements.get(name)
        if found is None:
            return problem.problem(404, f"Nobody said where appliance {name!r} runs.")
        return found.model_dump()

    @app.put("/v1/appliances/<name>/placement")
    def place(name: str) -> Any:
        wanted = validated(Placement, parsed(request.get_data()))
        placements.put(name, wanted)
        return wanted.model_dump()

    @app.delete("/v1/appliances/<name>/placement")
    def displace(name: str) -> Any:
        placements.delete(name)
        return "", 204

    @app.get("/v1/appliances/<name>/document")
    def document(name: str) -> Any:
        found = plane.document(name, generation=_number("generation"))
        if found is None:
            return problem.problem(404, f"No document was ever put for appliance {name!r}.")
        answer = app.make_response(found.content)
        answer.set_etag(str(found.generation))
        answer.make_conditional(request)
        # Which adds one that the server will add, too.
        del answer.headers["Date"]
        return answer

    @app.put("/v1/appliances/<name>/document")
    def put(name: str) -> Any:
        seconds = _wait()
        stored = plane.put(name, parsed(request.get_data()), expected=_expected(plane, name))
        return pushed(name, stored, seconds)

    @app.patch("/v1/appliances/<name>/document")
    def patch(name: str) -> Any:
        if request.mimetype not in ("application/merge-patch+json", "application/json"):
            return problem.problem(415, "Send a merge patch (RFC 7396), application/merge-patch+json.")
        seconds = _wait()
        stored = plane.patch(name, parsed(request.get_data()), expected=_expected(plane, name))
        return pushed(name, stored, seconds)

    def pushed(name: str, stored: Stored, seconds: float) -> Any:
        appliance = plane.wait(name, stored, timeout=seconds)
        content = summary(appliance) | {"changed": stored.changed, "generation": stored.generation}
        headers = {"ETag": f'"{appliance.wanted}"'}
        if appliance.wanted_digest != stored.digest:
            content["detail"] = "Another document is wanted by now."
            return content, 202, headers
        # Adopting an appliance that was ahead numbers a document anew.
        content["generation"] = appliance.wanted
        if appliance.state == "refused":
            answer = problem.refused(appliance.problems, generation=appliance.wanted)
            answer.headers.update(headers)
            return answer
        return content, 200 if is_converged(appliance) else 202, headers

    @app.post("/v1/appliances/<name>/plan")
    def plan(name: str) -> Any:
        body = request.get_data()
        return dict(plane.plan(name, parsed(body) if body else None).answer)

    @app.post("/v1/appliances/<name>/switch-over")
    def switch_over(name: str) -> Any:
        return plane.switch_over(name)

    @app.get("/v1/appliances/<name>/status")
    def status(name: str) -> Any:
        with plane.agent(name) as agent:
            return dict(agent.status().answer)

    @app.get("/v1/appliances/<name>/health")
    def health(name: str) -> Any:
        with plane.agent(name) as agent:
            return app.json.response(agent.health())

    @app.get("/v1/appliances/<name>/usage")
    def usage(name: str) -> Any:
        return app.json.response(plane.usage(name, own=request.args.get("own") == "true"))

    @app.get("/v1/appliances/<name>/hits")
    def hits(name: str) -> Any:
        with plane.agent(name) as agent:
            return app.json.response(agent.hits())

    @app.get("/v1/appliances/<name>/load-balancers")
    def load_balancers(name: str) -> Any:
        with plane.agent(name) as agent:
            return app.json.response(agent.load_balancers())

    @app.get("/v1/appliances/<name>/vpn")
    def vpn(name: str) -> Any:
        with plane.agent(name) as agent:
            return app.json.response(agent.vpn())

    questions.register(app, plane)
    return app


def summary(appliance: Appliance) -> dict[str, Any]:
    """What is known of an appliance; times are RFC 3339."""
    return {
        "name": appliance.name,
        "role": appliance.role,
        "control": appliance.control.model_dump(),
        "port": appliance.port,
        "state": appliance.state,
        "converged": is_converged(appliance),
        "wanted": appliance.wanted,
        "reported": appliance.reported,
        "problems": [{"pointer": item.pointer, "detail": item.detail} for item in appliance.problems],
        "last_error": appliance.last_error,
        "last_contact": _time(appliance.last_contact),
        "attempts": appliance.attempts,
        "next_try": _time(appliance.next_try),
        "created": _time(appliance.created),
        "certificate_expires": _time(appliance.certificate_expires),
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_token(asked: Request, token: str) -> bool:
    scheme, _, given = asked.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _expected(plane: Plane, name: str) -> int | None:
    """The generation that If-Match (RFC 9110 section 13.1.1) allows to be replaced; None: any."""
    if "If-Match" not in request.headers:
        return None
    current = plane.inventory.appliance(name).wanted
    matches = request.if_match
    if current and (matches.star_tag or matches.contains(str(current))):
        return current
    raise StaleError(f"The document is generation {current}, which If-Match doesn't name.", current=current)


def _number(name: str) -> int | None:
    text = request.args.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise problem.BadQueryError(name, "a whole number")
    return int(text)


def _wait() -> float:
    try:
        seconds = float(request.args.get("wait", "0"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT:
        raise problem.BadQueryError("wait", f"seconds, from 0 to {LONGEST_WAIT:.0f}")
    return seconds
