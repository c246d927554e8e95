"""The API's own description (OpenAPI 3.1), with the document's JSON Schema in it."""

from typing import Any

from appliance.document import Document
from appliance.document_schema import document_schema

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
            "/v1/status": {"get": _operation("Generation, state, capabilities, storage, versions")},
            "/v1/health": {"get": _operation("Every check with its last result; ?fresh runs them now")},
            "/v1/usage": {"get": _operation("Traffic totals, which only grow")},
            "/v1/hits": {"get": _operation("What each rule has decided about, by its JSON pointer")},
            "/v1/load-balancers": {
                "get": _operation("Load balancers and their servers: state, sessions, bytes, responses")
            },
            "/v1/vpn": {"get": _operation("Tunnels and remote users: state, addresses, traffic")},
            "/metrics": {
                "get": {"summary": "Prometheus metrics", "responses": {"200": {"description": "Text"}}}
            },
            "/v1/openapi.json": {"get": _operation("This description")},
        },
        "components": {"schemas": {**definitions, "Document": schema, **_SCHEMAS}},
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
