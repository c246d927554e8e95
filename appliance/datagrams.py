"""Load balancers of udp, one of `appliance.resources`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class DatagramServer:
    """A server of a load balancer of udp."""

    address: str
    port: int
    weight: int
    state: Literal["ready", "drain", "maintenance"]
    backup: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DatagramBalancer:
    """A load balancer of udp, for who asks what it does: its flows are led by the ruleset, and connection
    tracking knows them. There is nothing for the engine to do."""

    name: str
    address: str
    port: int
    servers: Mapping[str, DatagramServer]
