"""A document's time servers: in a container they are only asked whether its clock, the host's, is right."""

import socket

from router_document import document
from router_lab import GATEWAY, Lab

from tests.time_server import PORT, TimeServer


def time_check(lab: Lab) -> tuple[bool, str]:
    checks = {check["name"]: check for check in lab.get("/v1/health?fresh")["checks"]}
    return checks["time"]["ok"], checks["time"]["detail"]


def test_time_servers_are_compared_with_the_clock(lab: Lab) -> None:
    lab.put({**document(), "ntp": {"servers": ["203.0.113.77", GATEWAY]}})
    ok, detail = time_check(lab)
    assert not ok
    assert "203.0.113.77 doesn't tell the time" in detail and GATEWAY in detail
    assert lab.unit("sysvm-time", "ActiveState") == "active"
    listening = lab["net"].socket(socket.SOCK_DGRAM)
    listening.bind((GATEWAY, PORT))
    server = TimeServer(listening)
    try:
        assert time_check(lab) == (True, "ok")
        server.ahead = 90.0
        ok, detail = time_check(lab)
        assert (ok, detail) == (False, f"The clock is -90.0 s off the time of {GATEWAY}")
    finally:
        server.close()
    lab.put(document())
    assert lab.unit("sysvm-time", "ActiveState") == "inactive"
    assert lab.drift() == []
