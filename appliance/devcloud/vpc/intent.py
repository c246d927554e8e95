"""What the VPC's routers are to be: one document, but for what is each one's own of a pair."""

import base64
from pathlib import Path
from typing import Any

from appliance.devcloud import web
from appliance.devcloud.intent import PUBLIC_KEY
from appliance.devcloud.layout import (
    DOMAIN,
    GUEST_SEGMENT,
    INTERNET_GATEWAY,
    MTU,
    PUBLIC_SEGMENT,
    UPSTREAM_ADDRESSES,
)
from appliance.devcloud.vpc import echo
from appliance.devcloud.vpc.keys import Keys
from appliance.devcloud.vpc.layout import (
    BALANCED_ADDRESS,
    CLOSED_PORT,
    DATABASE_GATEWAY,
    DATABASE_PORT,
    DATABASE_SEGMENT,
    ECHO_PORT,
    FORWARDED_PORT,
    OFFICE_ADDRESS,
    OFFICE_NETWORK,
    PUBLIC_ADDRESS,
    ROUTERS,
    SITE,
    SYNC_SEGMENT,
    TIERS,
    TUNNEL,
    TUNNEL_GATEWAY,
    USER,
    USER_ADDRESS,
    WEB2,
    WEB_GATEWAY,
    WEB_NETWORK,
    VpcRouter,
)

_GATEWAYS = {GUEST_SEGMENT: WEB_GATEWAY, DATABASE_SEGMENT: DATABASE_GATEWAY}
_NAMES = {GUEST_SEGMENT: "web", DATABASE_SEGMENT: "db"}


def document(router: VpcRouter, keys: Keys) -> dict[str, Any]:
    """One router's, but for its generation."""
    value: dict[str, Any] = {
        "role": "router",
        "name": router.name,
        "interfaces": {
            **{
                link: {"mac": router.mac(link), "addresses": [f"{gateway}/24"], "mtu": MTU}
                for link, gateway in _GATEWAYS.items()
            },
            PUBLIC_SEGMENT: {
                "mac": router.mac(PUBLIC_SEGMENT),
                "addresses": [f"{PUBLIC_ADDRESS}/24", f"{BALANCED_ADDRESS}/24"],
                "gateway": INTERNET_GATEWAY,
            },
        },
        "tiers": {link: {"acl": name} for link, name in _NAMES.items()},
        "acls": _acls(),
        "dhcp": {
            link: {
                "reservations": {
                    guest.mac: {"address": guest.address, "hostname": guest.name} for guest in guests
                }
            }
            for link, guests in TIERS.items()
        },
        "dns": {
            link: {
                "domain": f"{name}.{DOMAIN}",
                "networks": [other for other in _NAMES if other != link],
                "upstreams": [{"address": address} for address in UPSTREAM_ADDRESSES],
            }
            for link, name in _NAMES.items()
        },
        "source_nat": {link: {"address": PUBLIC_ADDRESS} for link in _NAMES},
        "port_forwards": {
            "echo": {
                "address": PUBLIC_ADDRESS,
                "protocol": "tcp",
                "ports": FORWARDED_PORT,
                "target": WEB2.address,
                "target_ports": ECHO_PORT,
            }
        },
        "load_balancers": {
            "shop": {
                "address": BALANCED_ADDRESS,
                "port": 80,
                "mode": "http",
                "stickiness": {"source": {}},
                "check": {},
                "servers": {guest.name: {"address": guest.address} for guest in TIERS[GUEST_SEGMENT]},
            }
        },
        "firewall": {
            "ingress": {
                "policy": "drop",
                "rules": {
                    "echo": _letting_in(PUBLIC_ADDRESS, FORWARDED_PORT),
                    "shop": _letting_in(BALANCED_ADDRESS, 80),
                },
            }
        },
        "wireguard": {
            TUNNEL: {
                "private_key": keys.tunnel,
                "listen": {"addresses": [PUBLIC_ADDRESS]},
                "addresses": [f"{TUNNEL_GATEWAY}/24"],
                "reach": [GUEST_SEGMENT],
                "peers": {USER: {"public_key": keys.user_public, "allowed_ips": [f"{USER_ADDRESS}/32"]}},
            }
        },
        "ipsec": {
            SITE: {
                "local_address": PUBLIC_ADDRESS,
                "remote_address": OFFICE_ADDRESS,
                "psk": keys.site,
                "local_subnets": [WEB_NETWORK],
                "remote_subnets": [OFFICE_NETWORK],
            }
        },
        "metadata": {link: {"guests": _guests(link)} for link in TIERS},
        "accounting": {},
    }
    if not router.alone:
        value["interfaces"][SYNC_SEGMENT] = {"mac": router.mac(SYNC_SEGMENT)}
        value["redundancy"] = _redundancy(router, keys)
    return value


def _acls() -> dict[str, Any]:
    """Anybody asks the web servers, they alone ask the database, and that asks nobody."""
    accept = {"direction": "ingress", "verdict": "accept", "protocol": "tcp"}
    database = {**accept, "cidrs": [WEB_NETWORK]}
    return {
        "web": {
            "rules": {
                "http": {**accept, "number": 10, "ports": [80]},
                "echo": {**accept, "number": 20, "ports": [ECHO_PORT]},
            },
        },
        "db": {
            "egress_policy": "drop",
            "rules": {
                "database": {**database, "number": 10, "ports": [DATABASE_PORT]},
                "echo": {**database, "number": 20, "ports": [ECHO_PORT]},
            },
        },
    }


def _redundancy(router: VpcRouter, keys: Keys) -> dict[str, Any]:
    (other,) = (each for each in ROUTERS if each != router)
    return {
        "priority": 12 - router.number,
        "virtual_router_id": 51,
        "peer": other.name,
        "secret": keys.pair,
        "sync": SYNC_SEGMENT,
        "paths": {SYNC_SEGMENT: {"address": f"{router.sync_address}/30", "peer": other.sync_address}},
    }


def _guests(link: str) -> dict[str, Any]:
    data = base64.b64encode(user_data(link).encode()).decode()
    return {
        guest.mac: {
            "instance_id": f"devcloud-{guest.name}",
            "user_data": data,
            "public_keys": [PUBLIC_KEY],
        }
        for guest in TIERS[link]
    }


def _letting_in(address: str, port: int) -> dict[str, Any]:
    return {"verdict": "accept", "address": address, "protocol": "tcp", "ports": port}


def user_data(link: str) -> str:
    """A script that starts what a guest of this tier serves."""
    ports = (80, CLOSED_PORT) if link == GUEST_SEGMENT else (DATABASE_PORT, CLOSED_PORT)
    started = "\n".join(
        f"systemd-run --unit=web-{port} python3 /run/web.py 0.0.0.0 {port}" for port in ports
    )
    return f"""#!/bin/sh
cat > /run/web.py <<'END-OF-SERVER'
{Path(web.__file__).read_text()}
END-OF-SERVER
cat > /run/echo.py <<'END-OF-SERVER'
{Path(echo.__file__).read_text()}
END-OF-SERVER
{started}
systemd-run --unit=echo python3 /run/echo.py {ECHO_PORT}
"""
