from typing import Any

from tests.unit.router.refused import Case


def forward(**fields: Any) -> dict[str, Any]:
    values = {"address": "203.0.113.5", "protocol": "tcp", "ports": 1, "target": "10.1.1.10", **fields}
    return {"port_forwards": {"new": values}}


CASES: list[Case] = [
    (
        forward(address="192.0.2.1"),
        "/port_forwards/new/address",
        "192.0.2.1:1/tcp: 192.0.2.1 is no address of a public",
    ),
    (forward(address="203.0.113.6"), "/port_forwards/new/address", "static NAT for all its ports"),
    (
        forward(target="10.1.9.9"),
        "/port_forwards/new/target",
        "203.0.113.5:1/tcp: target 10.1.9.9 is on no guest",
    ),
    (forward(ports="8079-8081"), "/port_forwards/web/ports", "overlap those of port forward new"),
    (
        forward(ports="1-9", target_ports="1-8"),
        "/port_forwards/new/target_ports",
        "1-8 is not as many ports as 1-9",
    ),
    (
        forward(ports="10000-11024", target_ports="20000-21024"),
        "/port_forwards/new/target_ports",
        "at most 1024 ports",
    ),
]
