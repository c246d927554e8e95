"""The development cloud's constants: segments, addresses, MAC addresses. Documentation prefixes (RFC 5737)
where the public is meant, so that nothing can be mistaken for a real network."""

from dataclasses import dataclass

NAME = "dev"

GUEST_SEGMENT = "guest0"
PUBLIC_SEGMENT = "public0"
CONTROL_SEGMENT = "control0"
SEGMENTS = (GUEST_SEGMENT, PUBLIC_SEGMENT, CONTROL_SEGMENT)

# The guest network, as the router is to serve it.
GUEST_NETWORK = "10.1.1.0/24"
GUEST_GATEWAY = "10.1.1.1"

# The provider's side of the public network, and what is behind it.
INTERNET = "internet"
INTERNET_MAC = "02:00:cb:00:71:01"
INTERNET_GATEWAY = "203.0.113.1"
PUBLIC_NETWORK = "203.0.113.0/24"
WEB_ADDRESS = "198.51.100.80"
WEB_NAME = "www.example.net"
UPSTREAM_ADDRESSES = ("198.51.100.53", "198.51.100.54")
CLIENT_ADDRESS = "198.51.100.99"

# Where the management plane's server runs: it reaches appliances on their control addresses.
MANAGEMENT = "mgmt"
MANAGEMENT_MAC = "02:00:a9:fe:03:01"
MANAGEMENT_ADDRESS = "169.254.3.1"
CONTROL_NETWORK = "169.254.3.0/24"


@dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    name: str
    mac: str
    address: str
    """What the router's reservation gives it."""


GUESTS = (
    Guest(name="vm1", mac="02:00:0a:01:01:0a", address="10.1.1.10"),
    Guest(name="vm2", mac="02:00:0a:01:01:0b", address="10.1.1.11"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Router:
    name: str
    guest_mac: str
    public_mac: str
    control_mac: str
    control_address: str

    @property
    def cards(self) -> dict[str, str]:
        """MAC addresses by segment."""
        return {
            GUEST_SEGMENT: self.guest_mac,
            PUBLIC_SEGMENT: self.public_mac,
            CONTROL_SEGMENT: self.control_mac,
        }


ROUTER = Router(
    name="router",
    guest_mac="02:00:0a:01:01:01",
    public_mac="02:00:cb:00:71:02",
    control_mac="02:00:a9:fe:03:02",
    control_address="169.254.3.2",
)
PUBLIC_ADDRESS = "203.0.113.2"
STATIC_NAT_ADDRESS = "203.0.113.5"
DOMAIN = "cs1.example"
SEARCH = ["cs1.example", "example.net"]
MTU = 1450
NTP_ADDRESS = "198.51.100.123"
ROUTED_NETWORK = "192.0.2.0/24"
ROUTED_GATEWAY = "10.1.1.254"
FORWARDED_PORT = 8080
BLOCKED_PORT = 81
"""The web server listens on it, too, but no guest may ask there."""
