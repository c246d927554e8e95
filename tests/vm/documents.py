"""Documents that machines get."""

import json
from typing import Any

GUEST, PUBLIC = "02:00:00:00:01:01", "02:00:00:00:02:01"
DOCUMENT: dict[str, Any] = {"role": "router", "name": "r1", "generation": 7}


def large(generation: int, *, guests: int) -> dict[str, Any]:
    """A document of very many items, all of which tell the generation."""
    low = generation % 256
    macs = [f"02:00:01:{number >> 8:02x}:{number & 255:02x}:{low:02x}" for number in range(guests)]
    addresses = [f"10.1.{number >> 8}.{number & 255}" for number in range(2, guests + 2)]
    first = 1000 * (generation % 9 + 1)
    rule = {"verdict": "accept", "protocol": "tcp", "address": "203.0.113.2"}
    return {
        "role": "router",
        "name": "r1",
        "generation": generation,
        "interfaces": {
            "guest0": {"mac": GUEST, "addresses": ["10.1.0.1/16"]},
            "public0": {"mac": PUBLIC, "addresses": ["203.0.113.2/24"], "gateway": "203.0.113.1"},
        },
        "dhcp": {
            "guest0": {
                "reservations": {
                    mac: {"address": address, "hostname": f"vm{number}-{generation}"}
                    for number, (mac, address) in enumerate(zip(macs, addresses, strict=True))
                }
            }
        },
        "dns": {"guest0": {"domain": "a.example"}},
        "port_forwards": {
            f"f{number}": {
                "address": "203.0.113.2", "protocol": "tcp", "ports": str(number + first),
                "target": addresses[number],
            }
            for number in range(guests)
        },
        "firewall": {
            "ingress": {
                "rules": {f"r{port}-{generation}": {**rule, "ports": str(port)} for port in range(1, guests)}
            },
            "egress": {"guest0": {"policy": "accept"}},
        },
    }  # fmt: skip


def text(document: dict[str, Any]) -> str:
    return json.dumps(document)
