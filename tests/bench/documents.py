"""Routers' documents with so many of everything, and one item more as a merge patch."""

import base64
import copy
from typing import Any

NAME = "router"
GUEST_MAC, PUBLIC_MAC, CONTROL_MAC = "02:00:0a:01:01:01", "02:00:cb:00:71:02", "02:00:a9:fe:03:02"
GATEWAY, NETWORK, LENGTH = "10.1.0.1", "10.1.0.0/16", 16
PUBLIC_ADDRESS = "203.0.113.2"
DOMAIN = "bench.example"
FIRST_PORT = 20_001
KINDS = ("port forwards", "firewall rules", "reservations", "metadata")
ALL = "all four"
USER_DATA = base64.b64encode(b"#!/bin/sh\necho 'hello from the bench'\n" * 3).decode()
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrVeXpJyTmTgc5qEyjFXjN1sXVPDHx0VxTQfDRZEf7c bench"

Document = dict[str, Any]


def guest_address(number: int) -> str:
    """Of 10.1.4.1 and up; the addresses below are the bench's own."""
    return f"10.1.{4 + number // 250}.{1 + number % 250}"


def guest_mac(number: int) -> str:
    return f"02:00:0b:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def empty() -> Document:
    """A router with every service on, and nothing in them."""
    return {
        "role": "router",
        "name": NAME,
        "interfaces": {
            "guest0": {"mac": GUEST_MAC, "addresses": [f"{GATEWAY}/{LENGTH}"]},
            "public0": {
                "mac": PUBLIC_MAC,
                "addresses": [f"{PUBLIC_ADDRESS}/24"],
                "gateway": "203.0.113.1",
            },
        },
        "dhcp": {"guest0": {"reservations": {}}},
        "dns": {"guest0": {"domain": DOMAIN}},
        "source_nat": {"guest0": {"address": PUBLIC_ADDRESS}},
        "port_forwards": {},
        "firewall": {"ingress": {"policy": "drop", "rules": {}}, "egress": {"guest0": {}}},
        "metadata": {"guest0": {"guests": {}}},
        "accounting": {},
        # One client stands for all guests, or for a relay.
        "limits": {
            "usual": {
                "connections": None,
                "new_connections_per_second": None,
                "dhcp_packets_per_second": None,
                "dns_packets_per_second": None,
            }
        },
    }


def filled(count: int, kind: str = ALL) -> Document:
    """With `count` items of a kind, or of each."""
    document = empty()
    for number in range(count):
        for change in _items(number, kind):
            _merge(document, change)
    return document


def one_more(number: int, kind: str = ALL, *, target: str | None = None) -> Document:
    """A merge patch that brings item `number` of a kind, or of each."""
    patch: Document = {}
    for change in _items(number, kind, target=target):
        _merge(patch, change)
    return patch


def _items(number: int, kind: str, *, target: str | None = None) -> list[Document]:
    chosen = KINDS if kind == ALL else (kind,)
    return [_item(number, each, alone=kind != ALL, target=target) for each in chosen]


def _item(number: int, kind: str, *, alone: bool, target: str | None) -> Document:
    mac, address = guest_mac(number), guest_address(number)
    if kind == "port forwards":
        forward = {
            "address": PUBLIC_ADDRESS,
            "protocol": "tcp",
            "ports": FIRST_PORT + number,
            "target": target or address,
            "target_ports": 80,
        }
        return {"port_forwards": {f"forward-{number}": forward}}
    if kind == "firewall rules":
        rule = {
            "verdict": "accept",
            "address": PUBLIC_ADDRESS,
            "protocol": "tcp",
            "ports": FIRST_PORT + number,
            "source_cidrs": ["203.0.113.0/24"],
        }
        return {"firewall": {"ingress": {"rules": {f"rule-{number}": rule}}}}
    if kind == "reservations":
        return {"dhcp": {"guest0": {"reservations": {mac: {"address": address, "hostname": f"vm{number}"}}}}}
    guest: Document = {
        "instance_id": f"i-{number}",
        "user_data": USER_DATA,
        "public_keys": [KEY],
        "keys": {"service-offering": "small", "availability-zone": "zone1"},
    }
    if alone:
        guest |= {"address": address, "hostname": f"vm{number}"}
    return {"metadata": {"guest0": {"guests": {mac: guest}}}}


def _merge(document: Document, change: Document) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            _merge(document[key], value)
        else:
            document[key] = copy.copy(value)
