"""Sites and users around the router: each a strongSwan of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router_document import document
from router_lab import PUBLIC, Client, Lab, until

from appliance.runtime import namespace
from appliance.runtime.naming import full_name
from tests.ipsec_peer import Peer

SITES = {"site": ("203.0.113.20", "192.168.5.1"), "branch": ("203.0.113.21", "192.168.6.1")}
NAT, HIDDEN, BEHIND = "203.0.113.30", "172.30.0.2", "192.168.9.1"
PSK = "a key of the tests, long enough"


def tunnel(name: str, **fields: Any) -> dict[str, Any]:
    """To a site, from guest0."""
    address, network = SITES[name]
    return {
        "local_address": PUBLIC,
        "remote_address": address,
        "psk": PSK,
        "local_subnets": ["10.1.1.0/24"],
        "remote_subnets": [f"{network.rpartition('.')[0]}.0/24"],
        "dpd_seconds": 1,
        **fields,
    }


def with_tunnels(**tunnels: Any) -> dict[str, Any]:
    return {**document(), "ipsec": tunnels}


def swanctl(
    name: str, *, version: int = 2, psk: str = PSK, identity: str = "", remote: str = PUBLIC,
    local_ts: str = "", remote_ts: str = "10.1.1.0/24", more: str = "", proposals: str = "",
) -> str:  # fmt: skip
    """A site's side of a tunnel with a pre-shared key, waiting to be spoken to."""
    address, network = SITES.get(name, (HIDDEN, BEHIND))
    identity = identity or address
    proposals = proposals or ("aes256gcm16-prfsha256-ecp256" if version == 2 else "aes256-sha256-modp2048")
    local_ts = local_ts or f"{network.rpartition('.')[0]}.0/24"
    return f"""
connections {{
  router {{
    version = {version}
    local_addrs = {address}
    remote_addrs = {remote}
    proposals = {proposals}
    {more}
    local {{
      auth = psk
      id = {identity}
    }}
    remote {{
      auth = psk
      id = {remote}
    }}
    children {{
      {children(local_ts, remote_ts)}
    }}
  }}
}}
secrets {{
  ike-router {{
    id = {remote}
    secret = "{psk}"
  }}
}}
"""


def children(local: str, remote: str) -> str:
    """One child for each of the networks (`;` between them) that the site has."""
    return "\n".join(
        f"""net{number} {{
        local_ts = {networks}
        remote_ts = {remote}
        esp_proposals = aes256gcm16-ecp256,aes256-sha256-modp2048
      }}"""
        for number, networks in enumerate(local.split(";"))
    )


@contextmanager
def peers(lab: Lab, tree: Path, directory: Path) -> Iterator[dict[str, Peer]]:
    """The sites, a host behind a NAT, and two users; none runs yet."""
    made: dict[str, Peer] = {}
    for number, (name, (address, network)) in enumerate(SITES.items()):
        client = lab.client(name, "public0", f"02:00:cb:00:71:2{number}", f"{address}/24", local=(network,))
        made[name] = Peer(client.full, tree, directory / name)
    nat = lab.client("nat", "public0", "02:00:cb:00:71:30", f"{NAT}/24")
    hidden = Client("hidden", full_name(lab.cloud, "hidden"))
    namespace.create(hidden.full)
    nat.run("ip", "link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", hidden.full)
    nat.run("ip", "address", "add", "172.30.0.1/24", "dev", "in0")
    nat.run("ip", "link", "set", "in0", "up")
    nat.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    nat.run("nft", "table ip nat { chain p { type nat hook postrouting priority 100; "
            "oifname eth0 masquerade; }; }")  # fmt: skip
    for command in (
        f"address add {HIDDEN}/24 dev eth0",
        f"address add {BEHIND}/32 dev lo",
        "link set eth0 up",
        "route add default via 172.30.0.1",
    ):
        hidden.run("ip", *command.split())
    lab.clients["hidden"] = hidden
    made["hidden"] = Peer(hidden.full, tree, directory / "hidden")
    for number, name in enumerate(("laptop", "phone")):
        address = f"203.0.113.4{number}"
        client = lab.client(name, "public0", f"02:00:cb:00:71:4{number}", f"{address}/24")
        # What no tunnel takes goes to the internet.
        client.run("ip", "route", "add", "default", "via", "203.0.113.1")
        made[name] = Peer(client.full, tree, directory / name)
    try:
        yield made
    finally:
        for peer in made.values():
            peer.kill()


def session(lab: Lab, name: str) -> Any:
    """What the API tells of a tunnel or user."""
    (found,) = [item for item in lab.get("/v1/vpn")["ipsec"] if item["name"] == name]
    return found


def up(lab: Lab, name: str, *, seconds: float = 20.0) -> Any:
    return until(
        lambda: (seen := session(lab, name))["state"] == "up" and seen, seconds=seconds, what=f"{name} is up"
    )


def never(true: Callable[[], Any], *, tries: int = 3) -> bool:
    return not any(true() for _ in range(tries))
