"""Translated addresses: source NAT, static NAT, port forwards."""

from typing import Literal

from appliance.address import Ipv4Address, Ipv4Network, Ports
from appliance.model import Model


class SourceNat(Model):
    address: Ipv4Address


class StaticNat(Model):
    target: Ipv4Address


class PortForward(Model):
    """A public port (or range) that leads to a guest's. What may use it is the firewall's to say."""

    address: Ipv4Address
    protocol: Literal["tcp", "udp"]
    ports: Ports
    target: Ipv4Address
    target_ports: Ports | None = None
    """Absent: the same ports; else a range of the same length."""
    source_cidrs: list[Ipv4Network] = []
    """Only for clients in these networks; empty: for all."""
