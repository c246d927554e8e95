"""What is wrong with L2TP, each with where and what is said of it."""

from typing import Any

from tests.unit.router.refused import Case


def l2tp(**fields: Any) -> dict[str, Any]:
    return {"remote_access": {"l2tp": fields}}


def taken(ports: int | str) -> dict[str, Any]:
    forward = {"address": "203.0.113.7", "protocol": "udp", "ports": ports, "target": "10.1.1.10"}
    return {"port_forwards": {"taken": forward}}


AT = "/remote_access/l2tp"
CASES: list[Case] = [
    (l2tp(address="10.1.1.1"), f"{AT}/address", "no address of a public interface"),
    (l2tp(address="203.0.113.6"), f"{AT}/address", "static NAT of 203.0.113.6 takes all"),
    (taken(1701), f"{AT}/address", "port forward taken takes UDP port 1701"),
    (taken("4400-4600"), f"{AT}/address", "port forward taken takes UDP port 4500"),
    (l2tp(psk="fifteen letters"), f"{AT}/psk", "less than 16 characters"),
    (l2tp(pool="10.2.2.0/26"), f"{AT}/pool", "overlaps the network of guest3"),
    (l2tp(pool="203.0.113.64/26"), f"{AT}/pool", "overlaps the network of public0"),
    (l2tp(pool="10.9.1.0/24"), f"{AT}/pool", "of route lab"),
    (l2tp(pool="10.200.0.128/25"), f"{AT}/pool", "the pool of users by IKEv2"),
    (l2tp(pool="192.168.5.0/25"), f"{AT}/pool", "of tunnel office"),
    (l2tp(pool="10.99.0.128/25"), f"{AT}/pool", "overlaps 10.99.0.0/24 of /wireguard/vpn0/addresses/0"),
    (l2tp(pool="10.201.0.0/30"), f"{AT}/pool", "too few or too many"),
    (
        {"remote_access": {"users": {"eve": {"password": "@/etc/shadow"}}}},
        "/remote_access/users/eve/password",
        "for the name of a file",
    ),
]
