"""A document's time servers: in a container they are only asked whether its clock, the host's, is right."""

import socket
import struct
import threading
import time

from router_document import document
from router_lab import GATEWAY, Lab

SINCE_1900 = 2_208_988_800


def time_check(lab: Lab) -> tuple[bool, str]:
    checks = {check["name"]: check for check in lab.get("/v1/health?fresh")["checks"]}
    return checks["time"]["ok"], checks["time"]["detail"]


def test_time_servers_are_compared_with_the_clock(lab: Lab) -> None:
    lab.put({**document(), "ntp": {"servers": ["203.0.113.77", GATEWAY]}})
    ok, detail = time_check(lab)
    assert not ok
    assert "203.0.113.77 doesn't tell the time" in detail and GATEWAY in detail
    assert lab.unit("sysvm-time", "ActiveState") == "active"
    ahead = [0.0]
    server = lab["net"].socket(socket.SOCK_DGRAM)
    server.settimeout(None)
    server.bind((GATEWAY, 123))

    def serve() -> None:
        while True:
            try:
                question, client = server.recvfrom(100)
            except OSError:
                return
            now = time.time() + ahead[0] + SINCE_1900
            stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
            server.sendto(b"\x24\x02" + bytes(22) + question[40:48] + stamp + stamp, client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        assert time_check(lab) == (True, "ok")
        ahead[0] = 90.0
        ok, detail = time_check(lab)
        assert (ok, detail) == (False, f"The clock is -90.0 s off the time of {GATEWAY}")
    finally:
        server.close()
    lab.put(document())
    assert lab.unit("sysvm-time", "ActiveState") == "inactive"
    assert lab.drift() == []
