"""The VPC's constants, beside those of `devcloud.layout`: tiers, guests, routers, and who comes by VPN."""

from dataclasses import dataclass

from appliance.devcloud.layout import CONTROL_SEGMENT, GUEST_SEGMENT, PUBLIC_SEGMENT, Guest

DATABASE_SEGMENT = "guest1"
SYNC_SEGMENT = "sync0"
SEGMENTS = (GUEST_SEGMENT, DATABASE_SEGMENT, PUBLIC_SEGMENT, SYNC_SEGMENT, CONTROL_SEGMENT)

WEB_NETWORK, WEB_GATEWAY = "10.2.1.0/24", "10.2.1.1"
DATABASE_NETWORK, DATABASE_GATEWAY = "10.2.2.0/24", "10.2.2.1"
WEB1 = Guest(name="web1", mac="02:00:0a:02:01:0a", address="10.2.1.10")
WEB2 = Guest(name="web2", mac="02:00:0a:02:01:0b", address="10.2.1.11")
DB1 = Guest(name="db1", mac="02:00:0a:02:02:0a", address="10.2.2.10")
TIERS = {GUEST_SEGMENT: (WEB1, WEB2), DATABASE_SEGMENT: (DB1,)}

PUBLIC_ADDRESS = "203.0.113.2"
"""Of source NAT, port forwards and VPN."""
BALANCED_ADDRESS = "203.0.113.6"
DATABASE_PORT = 5432
"""Open to the web tier alone."""
CLOSED_PORT = 81
"""Guests listen on it, and no list lets anybody there."""
ECHO_PORT = 7
FORWARDED_PORT = 2007
"""To web2's echo."""
CLIENT_ADDRESSES = tuple(f"198.51.100.{number}" for number in range(101, 107))
"""Clients of the load balancer."""

OFFICE, OFFICE_MAC, OFFICE_ADDRESS = "office", "02:00:cb:00:71:20", "203.0.113.20"
OFFICE_NETWORK, OFFICE_HOST = "192.168.5.0/24", "192.168.5.1"
LAPTOP, LAPTOP_MAC, LAPTOP_ADDRESS = "laptop", "02:00:cb:00:71:21", "203.0.113.21"
TUNNEL = "vpn0"
TUNNEL_GATEWAY, TUNNEL_NETWORK, USER_ADDRESS = "10.99.0.1", "10.99.0.0/24", "10.99.0.2"
USER = "alice"
SITE = "office"


@dataclass(frozen=True, kw_only=True, slots=True)
class VpcRouter:
    name: str
    number: int
    alone: bool = False

    def mac(self, segment: str) -> str:
        return f"02:00:0a:02:{SEGMENTS.index(segment):02x}:0{self.number}"

    @property
    def control_mac(self) -> str:
        return self.mac(CONTROL_SEGMENT)

    @property
    def control_address(self) -> str:
        return f"169.254.3.{self.number + 1}"

    @property
    def sync_address(self) -> str:
        return f"169.254.4.{self.number}"

    @property
    def cards(self) -> dict[str, str]:
        return {
            segment: self.mac(segment) for segment in SEGMENTS if segment != SYNC_SEGMENT or not self.alone
        }


ALONE = VpcRouter(name="r1", number=1, alone=True)
ROUTERS = (VpcRouter(name="r1", number=1), VpcRouter(name="r2", number=2))
