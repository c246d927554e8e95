"""A VPC's router between tiers, two ways out, and a private network."""

import base64
from copy import deepcopy
from typing import Any

from router_lab import Lab

MACS = {
    "guest0": "02:00:0a:02:01:01", "guest1": "02:00:0a:02:02:01", "guest2": "02:00:0a:02:03:01",
    "public0": "02:00:cb:00:71:02", "public1": "02:00:c0:00:02:02", "private0": "02:00:ac:10:00:02",
    "control0": "02:00:a9:fe:03:02",
}  # fmt: skip
FIRST, SECOND = "203.0.113.2", "192.0.2.2"
"""The router's own on the two public networks."""
WEB, FAR = "198.51.100.80", "198.51.100.99"
"""In the internet behind both."""
BRANCH = "172.20.0.10"
"""Behind the private gateway."""
TIERS = {"a": "10.2.1.10", "b": "10.2.2.10", "c": "10.2.3.10"}
TIERS6 = {"a": "fd00:2:1::10", "b": "fd00:2:2::10"}
WEB6 = "2001:db8:f::80"

Rules = dict[str, dict[str, Any]]

_BASE: dict[str, Any] = {
    "role": "router",
    "name": "r1",
    "interfaces": {
        "guest0": {"mac": MACS["guest0"], "addresses": ["10.2.1.1/24", "fd00:2:1::1/64"]},
        "guest1": {"mac": MACS["guest1"], "addresses": ["10.2.2.1/24", "fd00:2:2::1/64"], "mtu": 1400},
        "guest2": {"mac": MACS["guest2"], "addresses": ["10.2.3.1/24"]},
        "public0": {
            "mac": MACS["public0"],
            "addresses": [f"{FIRST}/24", "203.0.113.3/24", "2001:db8::2/64"],
            "gateway": "203.0.113.1",
            "gateway6": "2001:db8::1",
        },
        "public1": {
            "mac": MACS["public1"],
            "addresses": [f"{SECOND}/24", "192.0.2.3/24"],
            "gateway": "192.0.2.1",
        },
        "private0": {"mac": MACS["private0"], "addresses": ["172.16.0.2/24"]},
    },
    "routes": {"branch": {"destination": "172.20.0.0/16", "gateway": "172.16.0.1"}},
    "acls": {
        "open": {"ingress_policy": "accept", "egress_policy": "accept"},
        "closed": {"ingress_policy": "drop", "egress_policy": "accept"},
    },
    "tiers": {"guest0": {"acl": "open"}, "guest1": {"acl": "open"}, "guest2": {"acl": "open"}},
    "private_gateways": {"private0": {}},
    "source_nat": {
        "guest0": {"address": FIRST}, "guest1": {"address": SECOND}, "guest2": {"address": FIRST},
    },
    "firewall": {"ingress": {"policy": "accept"}},
    "accounting": {},
}  # fmt: skip


def document() -> dict[str, Any]:
    """A copy to change at will: everything open; the generation is the lab's business."""
    return deepcopy(_BASE)


class VpcLab(Lab):
    def up(self) -> None:
        self.containers.switch.up(list(MACS))
        self.client("mgmt", "control0", "02:00:a9:fe:03:01", "169.254.3.1/24")
        # One internet, reached by two of its ends: each answers by where it was asked.
        for name, segment, mac, address in (
            ("net0", "public0", "02:00:cb:00:71:01", "203.0.113.1/24"),
            ("net1", "public1", "02:00:c0:00:02:01", "192.0.2.1/24"),
        ):
            self.client(name, segment, mac, address, local=(WEB, FAR))
        net = self["net0"]
        for address in ("2001:db8::1/64", f"{WEB6}/128"):
            net.run("ip", "address", "add", address, "dev", "eth0", "nodad")
        net.run("ip", "route", "add", "fd00:2::/32", "via", "2001:db8::2")
        self.client("branch", "private0", "02:00:ac:10:00:01", "172.16.0.1/24", local=(BRANCH,))
        self["branch"].run("ip", "route", "add", "10.2.0.0/16", "via", "172.16.0.2")
        for number, (name, address) in enumerate(TIERS.items(), 1):
            mac = f"02:00:0a:02:0{number}:0a"
            self.client(name, f"guest{number - 1}", mac, f"{address}/24", gateway=f"10.2.{number}.1")
            if name in TIERS6:
                client = self[name]
                client.run("ip", "address", "add", f"{TIERS6[name]}/64", "dev", "eth0", "nodad")
                client.run("ip", "-6", "route", "add", "default", "via", f"fd00:2:{number}::1")
        self.start()


def rule(number: int, verdict: str, direction: str = "ingress", **fields: Any) -> dict[str, Any]:
    return {"number": number, "verdict": verdict, "direction": direction, **fields}


def user_data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def with_list(link: str, rules: Rules, **fields: Any) -> dict[str, Any]:
    wanted = document()
    wanted["acls"]["own"] = {"rules": rules, **fields}
    wanted["tiers"][link]["acl"] = "own"
    return wanted
