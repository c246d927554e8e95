"""The document that the tests' router runs unless they say otherwise."""

import base64
from copy import deepcopy
from typing import Any

from router_lab import FORWARDS, GATEWAY, MACS, PUBLIC, STATIC, UPSTREAMS

VM1, VM2, VM3 = "02:00:0a:01:01:0a", "02:00:0a:01:01:0b", "02:00:0a:01:02:0a"

_BASE: dict[str, Any] = {
    "role": "router",
    "name": "r1",
    "interfaces": {
        "guest0": {"mac": MACS["guest0"], "addresses": ["10.1.1.1/24"], "mtu": 1450},
        "guest1": {"mac": MACS["guest1"], "addresses": ["10.1.2.1/24"]},
        "public0": {
            "mac": MACS["public0"],
            "addresses": [f"{PUBLIC}/24", f"{FORWARDS}/24", f"{STATIC}/24"],
            "gateway": GATEWAY,
        },
    },
    "dhcp": {
        "guest0": {
            "ranges": [{"first": "10.1.1.100", "last": "10.1.1.199"}],
            "reservations": {
                VM1: {"address": "10.1.1.10", "hostname": "vm1"},
                VM2: {"address": "10.1.1.11", "hostname": "vm2"},
            },
        },
        "guest1": {"reservations": {VM3: {"address": "10.1.2.10", "hostname": "vm1"}}},
    },
    "dns": {
        "guest0": {"domain": "a.example", "upstreams": [{"address": address} for address in UPSTREAMS]},
        "guest1": {"domain": "b.example", "upstreams": [{"address": UPSTREAMS[0]}]},
    },
    "source_nat": {"guest0": {"address": PUBLIC}, "guest1": {"address": PUBLIC}},
    "static_nat": {STATIC: {"target": "10.1.1.11"}},
    "port_forwards": {
        "web": {
            "address": FORWARDS,
            "protocol": "tcp",
            "ports": 8080,
            "target": "10.1.1.10",
            "target_ports": 80,
        },
    },
    "firewall": {
        "ingress": {
            "policy": "drop",
            "rules": {
                "web": {"verdict": "accept", "address": FORWARDS, "protocol": "tcp", "ports": 8080},
                "static": {"verdict": "accept", "address": STATIC, "protocol": "tcp", "ports": 80},
            },
        },
        "egress": {"guest0": {"policy": "accept"}, "guest1": {"policy": "accept"}},
    },
    "metadata": {
        "guest0": {
            "guests": {
                VM1: {
                    "instance_id": "i-1",
                    "user_data": base64.b64encode(b"#!/bin/sh\necho hello\n").decode(),
                    "public_keys": ["ssh-ed25519 AAAA one"],
                    "keys": {"service-offering": "small"},
                },
                VM2: {"instance_id": "i-2"},
            }
        }
    },
    "accounting": {},
}


def document() -> dict[str, Any]:
    """A copy to change at will; the generation is the lab's business."""
    return deepcopy(_BASE)
