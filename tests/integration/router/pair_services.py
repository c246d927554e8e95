"""A VPC of two tiers with access lists, load balancers and all kinds of VPN on a redundant pair."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pair_lab
from balanced import Behaviour, Web, balancer, opened
from flows import Echo
from ipsec_lab import SITES, swanctl, tunnel
from pair_lab import PairLab
from router_lab import FORWARDS, PUBLIC, until
from test_remote_access import AUTHORITY, access, client

from tests.ipsec_peer import Peer
from tests.wireguard_peer import WireGuardPeer, new_key

BALANCED = 8300
SITE = SITES["site"][1]
SOURCES = [f"198.51.100.{number}" for number in range(101, 109)]
"""Clients of the load balancer, each of which has its server."""
_OFFICE = "203.0.113.13"


class Services:
    def __init__(self, pair: PairLab, tree: Path, directory: Path) -> None:
        self.pair = pair
        one = pair.routers["r1"]
        if "vm3" not in pair.clients:
            one.client("vm3", "guest1", "02:00:0a:01:02:0a", "10.1.2.10/24", gateway="10.1.2.1")
        one.client("site", "public0", "02:00:cb:00:71:20", f"{SITES['site'][0]}/24", local=(SITE,))
        one.client("laptop", "public0", "02:00:cb:00:71:40", "203.0.113.40/24")
        one.client("road", "public0", "02:00:cb:00:71:11", "203.0.113.11/24")
        one.client("office", "public0", "02:00:cb:00:71:13", f"{_OFFICE}/24")
        for source in SOURCES:
            pair["net"].run("ip", "address", "add", f"{source}/32", "dev", "lo")
        self._key, office = new_key(), new_key()
        networks = ("10.99.0.0/24", "10.1.1.0/24", "10.1.2.0/24")
        self.alice = WireGuardPeer(pair["road"].full, ("10.99.0.2/32",), networks)
        self.office = WireGuardPeer(
            pair["office"].full, ("10.99.0.3/32",), networks[:1], port=51820, private_key=office
        )
        self.site = Peer(pair["site"].full, tree, directory / "site")
        self.laptop = Peer(pair["laptop"].full, tree, directory / "laptop")

    @property
    def public(self) -> str:
        return WireGuardPeer("", (), (), private_key=self._key).public_key

    def document(self, name: str) -> dict[str, Any]:
        value = pair_lab.document(name)
        value["interfaces"]["guest1"] = {"mac": pair_lab.macs(name)["guest1"], "addresses": ["10.1.2.1/24"]}
        value["source_nat"]["guest1"] = {"address": PUBLIC}
        del value["firewall"]["egress"]
        accepted = {"direction": "ingress", "verdict": "accept", "protocol": "tcp"}
        value["acls"] = {
            "front": {"rules": {"web": {**accepted, "number": 10, "ports": [80, 8000]}}},
            "back": {"rules": {"echo": {**accepted, "number": 10, "ports": [7], "cidrs": ["10.1.1.0/24"]}}},
        }
        value["tiers"] = {"guest0": {"acl": "front"}, "guest1": {"acl": "back"}}
        servers = {
            "vm1": {"address": "10.1.1.10"},
            "vm2": {"address": "10.1.1.11"},
            "dead": {"address": "10.1.1.12"},
        }
        value["load_balancers"] = {
            "web": balancer(
                FORWARDS, BALANCED, {key: {**item, "port": 8000} for key, item in servers.items()},
                mode="http", stickiness={"source": {}}, check={"interval": 0.5, "fall": 2, "rise": 2},
            )
        }  # fmt: skip
        opened(value, (FORWARDS, "tcp", BALANCED))
        value["wireguard"] = {
            "vpn0": {
                "private_key": self._key,
                "listen": {"addresses": [PUBLIC]},
                "addresses": ["10.99.0.1/24"],
                "peers": {
                    "alice": {"public_key": self.alice.public_key, "allowed_ips": ["10.99.0.2/32"]},
                    # The router begins: its backup mustn't.
                    "office": {
                        "public_key": self.office.public_key, "allowed_ips": ["10.99.0.3/32"],
                        "endpoint": f"{_OFFICE}:51820", "persistent_keepalive": 1,
                    },
                },
            }
        }  # fmt: skip
        value["ipsec"] = {"site": tunnel("site")}
        value["remote_access"] = access()["remote_access"]
        return value

    def put(self) -> None:
        self.pair.put(self.document)
        for name in self.pair.routers:
            until(lambda name=name: not self.drift(name), seconds=20, what=f"{name} has no drift")  # type: ignore[misc]

    def drift(self, name: str) -> Any:
        """What a second plan of the same document finds."""
        router = self.pair.routers[name]
        generation = router.status()["generation"] + 1
        answer = router.request("POST", "/v1/plan", {**self.document(name), "generation": generation})
        assert answer.status == 200, answer.text
        return answer.json["changes"]

    def connect(self, user: str = "alice") -> None:
        """A user of IKEv2."""
        self.laptop.start(client(user, remote_ts="10.1.1.0/24"), {"x509ca/ca.pem": AUTHORITY.certificate})
        self.laptop.initiate("net")

    def session(self, name: str, what: str) -> Any:
        found = self.pair.routers[name].get("/v1/vpn")["ipsec"]
        return next(item for item in found if item["name"] == what)


@contextmanager
def services(pair: PairLab, tree: Path, directory: Path) -> Iterator[Services]:
    made = Services(pair, tree, directory)
    echo = Echo(pair["vm3"], 7, udp=False)
    webs = [Web(pair[name], 8000, Behaviour(name)) for name in ("vm1", "vm2")]
    try:
        made.put()
        made.site.start(swanctl("site"))
        with (
            made.alice.up(tunnel_key=made.public, endpoint=f"{PUBLIC}:51820", keepalive=1),
            made.office.up(tunnel_key=made.public),
        ):
            yield made
    finally:
        made.site.kill()
        made.laptop.kill()
        for web in webs:
            web.close()
        echo.close()
