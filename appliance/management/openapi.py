"""The description of the API (OpenAPI 3.1), made from the very models that validate what comes in."""

from functools import cache
from typing import Any

from appliance.management.inventory import STATES
from appliance.management.placement import Placement
from appliance.management.questions import KINDS as QUESTIONS
from appliance.management.submission import NewAppliance
from appliance.roles import ROLES, document_model

_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_WAIT = {
    "name": "wait", "in": "query", "schema": {"type": "number", "minimum": 0, "maximum": 3600},
    "description": "Seconds to wait for the appliance to run the document, or to refuse it.",
}  # fmt: skip
_IF_MATCH = {
    "name": "If-Match", "in": "header", "schema": {"type": "string"},
    "description": "The generation that is replaced, as GET's ETag has it; another is answered with 412.",
}  # fmt: skip
_GENERATION = {
    "name": "generation", "in": "query", "schema": {"type": "integer", "minimum": 1},
    "description": "An earlier generation, of those that are kept.",
}  # fmt: skip
_ANSWERS = {
    200: "Done", 201: "Made", 202: "Wanted; not yet run", 204: "Gone", 304: "Not changed", 400: "Not JSON",
    404: "Not known", 409: "Name taken, or an old generation", 412: "Not what If-Match names",
    415: "Not a merge patch", 422: "Refused, with pointers", 502: "The appliance doesn't answer",
}  # fmt: skip


@cache
def description() -> dict[str, Any]:
    document = {"oneOf": [{"$ref": f"#/components/schemas/{role}"} for role in sorted(ROLES)]}
    appliance = {"$ref": "#/components/schemas/Appliance"}
    placement = {"$ref": "#/components/schemas/Placement"}
    one = "/v1/appliances/{name}"
    paths: dict[str, dict[str, Any]] = {
        "/healthz": {"get": _operation("Whether the management plane serves", 200) | {"security": []}},
        "/metrics": {"get": _operation("Prometheus metrics", 200)},
        "/v1/openapi.json": {"get": _operation("This description", 200)},
        "/v1/appliances": {
            "get": _operation("All appliances", 200),
            "post": _operation(
                "Make an appliance; its boot data is in the answer, once", 201, 409, 422,
                body={"$ref": "#/components/schemas/NewAppliance"},
            ),
        },
        one: {
            "get": _operation("One appliance", 200, 404, answer=appliance),
            "delete": _operation("Forget it", 204, 404),
        },
        f"{one}/boot": {"post": _operation("Boot data with a new certificate", 200, 404)},
        f"{one}/document": {
            "get": _operation(
                "What it should be; secrets masked", 200, 304, 404, parameters=[_GENERATION], answer=document
            ),
            "put": _operation(
                "Want this", 200, 202, 400, 404, 409, 412, 422,
                parameters=[_WAIT, _IF_MATCH], body=document, answer=appliance,
            ),
            "patch": _operation(
                "Change what is wanted by a merge patch (RFC 7396)", 200, 202, 400, 404, 409, 412, 415, 422,
                parameters=[_WAIT, _IF_MATCH], body={"type": "object"}, answer=appliance,
                media="application/merge-patch+json",
            ),
        },
        f"{one}/placement": {
            "get": _operation("Where it runs", 200, 404, answer=placement),
            "put": _operation("Say where it runs", 200, 400, 404, 422, body=placement, answer=placement),
            "delete": _operation("It runs nowhere that we know of", 204, 404),
        },
        f"{one}/plan": {
            "post": _operation(
                "What it would change, and change nothing", 200, 400, 404, 409, 422, 502, body=document
            )
        },
        f"{one}/switch-over": {
            "post": _operation("Have the peer of a redundant pair's primary take over", 200, 404, 409, 502)
        },
    }  # fmt: skip
    own = {"name": "own", "in": "query", "schema": {"type": "boolean"}, "description": "Of this one alone"}
    paths[f"{one}/usage"] = {
        "get": _operation(
            "Traffic totals, which only grow; of a redundant pair both appliances' together", 200, 404, 502,
            parameters=[own],
        )
    }  # fmt: skip
    for question in ("status", "health", "hits", "load-balancers", "vpn"):
        paths[f"{one}/{question}"] = {"get": _operation(f"The agent's own {question}", 200, 404, 502)}
    kind = {"name": "kind", "in": "path", "required": True, "schema": {"enum": list(QUESTIONS)}}
    for question in ("explain", "diagnostics/{kind}"):
        paths[f"{one}/{question}"] = {
            "post": _operation(
                "As the agent's own; see its description", 200, 404, 422, 502,
                body={"type": "object"}, parameters=[kind] if "{kind}" in question else None,
            )
        }  # fmt: skip
    for question in ("connections", "capture", "diagnostics"):
        paths[f"{one}/{question}"] = {
            "get": _operation("As the agent's own; see its description", 200, 404, 422, 502)
        }
    for path, operations in paths.items():
        for operation in operations.values():
            if "{name}" in path:
                operation["parameters"] = [_NAME, *operation.get("parameters", [])]
    return {
        "openapi": "3.1.0",
        "info": {"title": "sysvm management plane", "version": "1"},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _operation(
    title: str, *statuses: int, parameters: list[Any] | None = None, body: Any = None, answer: Any = None,
    media: str = "application/json",
) -> dict[str, Any]:  # fmt: skip
    responses: dict[str, Any] = {}
    for status in statuses:
        response: dict[str, Any] = {"description": _ANSWERS[status]}
        responses[str(status)] = response
        if status >= 400:
            problem = {"$ref": "#/components/schemas/Problem"}
            response["content"] = {"application/problem+json": {"schema": problem}}
        elif answer is not None and status in (200, 202):
            response["content"] = {"application/json": {"schema": answer}}
    operation: dict[str, Any] = {"summary": title, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"content": {media: {"schema": body}}}
    return operation


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "description": "RFC 9457",
            "properties": {
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                    },
                },
            },
        },
        "Appliance": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "role": {"type": "string"},
                "state": {"enum": list(STATES)},
                "converged": {"type": "boolean"},
                "wanted": {"type": "integer"},
                "reported": {"type": ["integer", "null"]},
                "last_error": {"type": ["string", "null"]},
            },
        },
    }
    models: dict[str, Any] = {"NewAppliance": NewAppliance, "Placement": Placement}
    models |= {role: document_model(role) for role in sorted(ROLES)}
    for name, model in models.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    return schemas
