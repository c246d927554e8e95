"""The API's own description (OpenAPI 3.1), with the document's JSON Schema in it."""

from typing import Any

from appliance.document import Document
from appliance.document_schema import document_schema
from appliance.model import Model

_JSON = "application/json"


def describe(model: type[Document]) -> dict[str, Any]:
    schema = document_schema(model, template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    push = {
        "200": _answer("What was changed", "Report"),
        "400": _problem("The body is not JSON"),
        "409": _problem("An older generation, or the running one with other content"),
        "413": _problem("The body is too large"),
        "422": _problem("The document is refused; each error has a JSON pointer. Nothing was touched"),
        "500": _problem("Applying failed; the appliance went back to what ran before"),
        "507": _problem("The document can't be kept, for want of room; nothing changed"),
    }
    confirm = {
        "name": "confirm",
        "in": "query",
        "schema": {"type": "number"},
        "description": "Go back by itself unless POST /v1/confirm comes within so many seconds",
    }
    body = {"required": True, "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Document"}}}}
    patch = {"required": True, "content": {"application/merge-patch+json": {"schema": {"type": "object"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sysvm agent", "version": "1", "summary": "Documents in, state out"},
        "paths": {
            "/v1/config": {
                "get": _operation(
                    "The running document, secrets masked; its ETag is the generation", "Document"
                ),
                "put": {
                    "summary": "Make this whole document what runs",
                    "parameters": [confirm],
                    "requestBody": body,
                    "responses": push,
                },
                "patch": {
                    "summary": "Change the running document by a merge patch (RFC 7396)",
                    "parameters": [confirm],
                    "requestBody": patch,
                    "responses": push,
                },
            },
            "/v1/plan": {
                "post": {
                    "summary": "What PUT would change; changes nothing",
                    "requestBody": body,
                    "responses": {
                        "200": _answer("The steps", "Plan"),
                        "422": push["422"],
                        "409": push["409"],
                    },
                }
            },
            "/v1/confirm": {
                "post": {
                    "summary": "Keep a change that waits to be confirmed",
                    "responses": {"200": {"description": "Kept"}, "409": _problem("None waits")},
                }
            },
            "/v1/switch-over": {
                "post": {
                    "summary": "Have the other router of a redundant pair take over",
                    "responses": {
                        "200": {"description": "It has; the state now"},
                        "409": _problem("This isn't the primary, or the other isn't ready"),
                    },
                }
            },
            "/v1/status": {
                "get": _operation("Generation, state, warnings, capabilities, storage, versions")
            },
            "/v1/health": {"get": _operation("Every check with its last result; ?fresh runs them now")},
            "/v1/usage": {"get": _operation("Traffic totals, which only grow")},
            "/v1/hits": {"get": _operation("What each rule has decided about, by its JSON pointer")},
            "/v1/load-balancers": {
                "get": _operation("Load balancers and their servers: state, sessions, bytes, responses")
            },
            "/v1/vpn": {"get": _operation("Tunnels and remote users: state, addresses, traffic")},
            **_questions(),
            "/metrics": {
                "get": {"summary": "Prometheus metrics", "responses": {"200": {"description": "Text"}}}
            },
            "/v1/openapi.json": {"get": _operation("This description")},
        },
        "components": {"schemas": {**definitions, "Document": schema, **_SCHEMAS}},
    }


def _questions() -> dict[str, Any]:
    # With the description: they bring what answers them.
    from appliance.agent import bundle, capture, diagnosis, explanation, tracked

    refused = _problem("A question that has no answer; the errors have JSON pointers")
    busy = _problem("As many are under way as there may be")

    def post(summary: str, model: type[Model], **more: dict[str, Any]) -> dict[str, Any]:
        body = {"required": True, "content": {_JSON: {"schema": model.model_json_schema()}}}
        responses = {"200": {"description": summary}, "422": refused, **more}
        return {"post": {"summary": summary, "requestBody": body, "responses": responses}}

    def get(summary: str, model: type[Model]) -> dict[str, Any]:
        schema = model.model_json_schema()
        parameters = [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": value}
            for name, value in schema["properties"].items()
        ]
        responses = {"200": {"description": summary}, "422": refused, "429": busy}
        return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}

    said = {
        "ping": "Echo requests from the router, and what came back",
        "traceroute": "The routers on the way to an address",
        "arping": "Who says on a link that an address is his",
        "lookup": "What a DNS server answers the router",
    }
    no_probe = _problem("The kernel lets no probe in")
    captured = get(f"Packets of a link, as {capture.CONTENT_TYPE}", capture.Capture)
    captured["get"]["parameters"].append(
        {
            "name": "Client-Port",
            "in": "header",
            "schema": {"type": "integer"},
            "description": "The client's own TCP port: the capture ends with this connection",
        }
    )
    return {
        "/v1/explain": post("What becomes of a packet", explanation.Question, **{"501": no_probe}),
        "/v1/connections": get("Tracked connections", tracked.Listing),
        "/v1/capture": captured,
        "/v1/diagnostics": {
            "get": {
                "summary": f"All of this, the machine's state and logs, without secrets: a tar archive, "
                f"as {bundle.CONTENT_TYPE}",
                "responses": {"200": {"description": "The archive"}, "429": busy},
            }
        },
        **{
            f"/v1/diagnostics/{kind}": post(said[kind], model, **{"429": busy})
            for kind, model in diagnosis.KINDS.items()
        },
    }


def _operation(summary: str, schema: str | None = None) -> dict[str, Any]:
    answer = _answer(summary, schema) if schema else {"description": summary}
    return {"summary": summary, "responses": {"200": answer}}


def _answer(description: str, schema: str) -> dict[str, Any]:
    content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}


_TEXT = {"type": "string"}
_CHANGES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"kind": _TEXT, "name": _TEXT, "action": _TEXT, "detail": _TEXT},
    },
}
_SCHEMAS: dict[str, Any] = {
    "Plan": {"type": "object", "properties": {"changes": _CHANGES}},
    "Report": {
        "type": "object",
        "properties": {
            "generation": {"type": "integer"},
            "state": _TEXT,
            "changes": _CHANGES,
            "seconds": {"type": "number"},
        },
    },
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "errors": {
                "type": "array",
                "items": {"type": "object", "properties": {"pointer": _TEXT, "detail": _TEXT}},
            },
        },
    },
}
