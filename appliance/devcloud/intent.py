"""What the development cloud's router is to be: one document that uses every service it has."""

import base64
from pathlib import Path
from typing import Any

from appliance.devcloud import web
from appliance.devcloud.layout import (
    BLOCKED_PORT,
    DOMAIN,
    FORWARDED_PORT,
    GUEST_GATEWAY,
    GUESTS,
    INTERNET_GATEWAY,
    MTU,
    NTP_ADDRESS,
    PUBLIC_ADDRESS,
    ROUTED_GATEWAY,
    ROUTED_NETWORK,
    ROUTER,
    SEARCH,
    STATIC_NAT_ADDRESS,
    UPSTREAM_ADDRESSES,
)

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrVeXpJyTmTgc5qEyjFXjN1sXVPDHx0VxTQfDRZEf7c devcloud"
"""Of a key pair whose private half was thrown away."""
USER_DATA_MARK = "/run/user-data-ran"


def document(passwords: dict[str, str]) -> dict[str, Any]:
    """The document, but for its generation; `passwords` are the guests', by name."""
    first, second = GUESTS
    return {
        "role": "router",
        "name": ROUTER.name,
        "interfaces": {
            "guest0": {"mac": ROUTER.guest_mac, "addresses": [f"{GUEST_GATEWAY}/24"], "mtu": MTU},
            "public0": {
                "mac": ROUTER.public_mac,
                "addresses": [f"{PUBLIC_ADDRESS}/24", f"{STATIC_NAT_ADDRESS}/24"],
                "gateway": INTERNET_GATEWAY,
            },
        },
        "dhcp": {
            "guest0": {
                "ranges": [{"first": "10.1.1.100", "last": "10.1.1.199"}],
                "options": {
                    "search": SEARCH,
                    "ntp": [NTP_ADDRESS],
                    "routes": [{"destination": ROUTED_NETWORK, "gateway": ROUTED_GATEWAY}],
                },
                "reservations": {
                    guest.mac: {"address": guest.address, "hostname": guest.name} for guest in GUESTS
                },
            }
        },
        "dns": {
            "guest0": {
                "domain": DOMAIN,
                "upstreams": [{"address": address} for address in UPSTREAM_ADDRESSES],
                "records": {"database": ["10.1.1.50"]},
                "aliases": {"www": first.name},
            }
        },
        "source_nat": {"guest0": {"address": PUBLIC_ADDRESS}},
        "static_nat": {STATIC_NAT_ADDRESS: {"target": second.address}},
        "port_forwards": {
            "web": {
                "address": PUBLIC_ADDRESS,
                "protocol": "tcp",
                "ports": FORWARDED_PORT,
                "target": first.address,
                "target_ports": 80,
            }
        },
        "firewall": {
            "ingress": {
                "policy": "drop",
                "rules": {
                    "web": _letting_in(PUBLIC_ADDRESS, FORWARDED_PORT),
                    "static-web": _letting_in(STATIC_NAT_ADDRESS, 80),
                },
            },
            "egress": {
                "guest0": {
                    "policy": "accept",
                    "rules": {"blocked": {"verdict": "drop", "protocol": "tcp", "ports": BLOCKED_PORT}},
                }
            },
        },
        "metadata": {
            "guest0": {
                "guests": {
                    guest.mac: {
                        "instance_id": f"devcloud-{guest.name}",
                        "user_data": base64.b64encode(user_data().encode()).decode(),
                        "public_keys": [PUBLIC_KEY],
                        "keys": {"service-offering": "small", "availability-zone": "devcloud"},
                        "password": passwords[guest.name],
                    }
                    for guest in GUESTS
                }
            }
        },
        "accounting": {},
    }


def _letting_in(address: str, port: int) -> dict[str, Any]:
    return {"verdict": "accept", "address": address, "protocol": "tcp", "ports": port}


def user_data() -> str:
    """A script that leaves a mark and starts a web server, which says who asks."""
    server = Path(web.__file__).read_text()
    return f"""#!/bin/sh
cat > /run/web.py <<'END-OF-SERVER'
{server}
END-OF-SERVER
systemd-run --unit=web-80 python3 /run/web.py 0.0.0.0 80
systemd-run --unit=web-81 python3 /run/web.py 0.0.0.0 81
touch {USER_DATA_MARK}
"""
