"""What the API tells of the router."""

import re
from typing import Any

from router_lab import Lab


def test_status_and_config(lab: Lab) -> None:
    status = lab.status()
    assert (status["role"], status["name"], status["state"]) == ("router", "r1", "converged")
    assert status["capabilities"]["nat"] is True
    assert status["versions"]["sysvm"]
    answer = lab.request("GET", "/v1/config")
    assert answer.headers["ETag"].strip('"') == str(status["generation"]) == str(answer.json["generation"])


def test_health_names_every_check(lab: Lab) -> None:
    health = lab.get("/v1/health?fresh")
    assert health["ok"] is True
    assert {check["name"] for check in health["checks"]} == {
        "link guest0", "link guest1", "link public0", "dns guest0", "dns guest1",
        "dhcp guest0", "dhcp guest1", "metadata", "metadata guest0",
    }  # fmt: skip


_SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.e+-]+|NaN)')


def test_metrics_are_prometheus_text(lab: Lab) -> None:
    """Text format 0.0.4: each family once, typed before its samples, counters named for what they are."""
    answer = lab.request("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.text.endswith("\n")
    types: dict[str, str] = {}
    seen: set[str] = set()
    last = ""
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, name
            types[name] = kind
            assert kind in ("counter", "gauge")
            assert name.endswith("_total") == (kind == "counter"), name
            last = name
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == last, "samples of a family are together"
            assert line.rpartition(" ")[0] not in seen, line
            seen.add(line.rpartition(" ")[0])
            assert float(match[3]) >= 0
    assert {"sysvm_generation", "sysvm_state", "sysvm_health", "sysvm_traffic_bytes_total"} <= types.keys()
    assert {"sysvm_machine_memory_available_bytes", "sysvm_machine_storage_bytes"} <= types.keys()
    assert 'sysvm_state{state="converged"} 1' in answer.text


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_the_api_describes_itself(lab: Lab) -> None:
    """OpenAPI 3.1: what it must have, references that lead somewhere, and paths that are there."""
    description = lab.get("/v1/openapi.json")
    assert description["openapi"].startswith("3.1.")
    assert {"title", "version"} <= description["info"].keys()
    for reference in references(description):
        at = description
        for part in reference.removeprefix("#/").split("/"):
            at = at[part.replace("~1", "/").replace("~0", "~")]
    for path, item in description["paths"].items():
        for method, operation in item.items():
            assert operation["responses"], (path, method)
            assert all(response["description"] for response in operation["responses"].values())
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]
            status = lab.request(method.upper(), path, b"" if method != "get" else None).status
            assert status not in (404, 405, 500), (path, method, status)
    schema = description["components"]["schemas"]["Document"]
    assert {"role", "name", "generation"} <= set(schema["required"])
    assert schema["additionalProperties"] is False
