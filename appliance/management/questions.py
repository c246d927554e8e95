"""Questions about packets, put through to an appliance as they are: the agent says what it understands."""

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request

from appliance.management import problem
from appliance.management.client import Agent
from appliance.management.plane import Plane
from appliance.management.submission import parsed

KINDS = ("ping", "traceroute", "arping", "lookup")
_PCAP = "application/vnd.tcpdump.pcap"
_ARCHIVE = "application/gzip"


def register(app: Flask, plane: Plane) -> None:
    @app.post("/v1/appliances/<name>/explain")
    def explain(name: str) -> Any:
        question = parsed(request.get_data())
        with plane.agent(name) as agent:
            return agent.ask("POST", "/v1/explain", body=question)

    @app.post("/v1/appliances/<name>/diagnostics/<kind>")
    def diagnose(name: str, kind: str) -> Any:
        if kind not in KINDS:
            return problem.problem(404, f"There are no diagnostics {kind!r}; there are: {', '.join(KINDS)}.")
        question = parsed(request.get_data())
        with plane.agent(name) as agent:
            return agent.ask("POST", f"/v1/diagnostics/{kind}", body=question)

    @app.get("/v1/appliances/<name>/connections")
    def connections(name: str) -> Any:
        with plane.agent(name) as agent:
            return agent.ask("GET", "/v1/connections", query=request.args)

    @app.get("/v1/appliances/<name>/capture")
    def capture(name: str) -> Any:
        agent = plane.capturing(name)
        return _streamed(agent, agent.capture(request.args), _PCAP)

    @app.get("/v1/appliances/<name>/diagnostics")
    def diagnostics(name: str) -> Any:
        agent = plane.capturing(name)
        return _streamed(agent, agent.diagnostics(), _ARCHIVE)


def _streamed(agent: Agent, pieces: Iterator[bytes], content_type: str) -> Response:
    try:
        # What can't be is said before an answer begins.
        first = next(pieces, b"")
    except BaseException:
        agent.close()
        raise
    return Response(_through(agent, first, pieces), content_type=content_type)


def _through(agent: Agent, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield first
        yield from rest
    finally:
        agent.close()
