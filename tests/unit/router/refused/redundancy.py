"""What is refused of a router's part in a pair."""

from typing import Any

from tests.unit.router.refused import Case


def redundancy(**fields: Any) -> dict[str, Any]:
    return {"redundancy": fields}


def path(link: str, address: str, peer: str) -> dict[str, Any]:
    return redundancy(paths={link: {"address": address, "peer": peer}})


CASES: list[Case] = [
    (redundancy(peer="r1"), "/redundancy/peer", "this router itself"),
    (redundancy(sync="guest0"), "/redundancy/sync", "no link of its own"),
    (redundancy(sync="sync1"), "/redundancy/sync", "there is no interface sync1"),
    (
        {**redundancy(sync="sync1"), "interfaces": {"sync1": {"mac": "02:00:a9:fe:04:11"}}},
        "/redundancy/paths",
        "sync1 is no path",
    ),
    (
        redundancy(multicast="public1"),
        "/redundancy/multicast",
        "public1, for multicast adverts, is no path",
    ),
    (path("public7", "169.254.7.1/30", "169.254.7.2"), "/redundancy/paths/public7", "no such interface"),
    (
        path("public1", "169.254.7.1/30", "169.254.7.1"),
        "/redundancy/paths/public1/peer",
        "its own address",
    ),
    (
        path("public1", "169.254.7.1/30", "169.254.7.9"),
        "/redundancy/paths/public1/peer",
        "is not within 169.254.7.0/30",
    ),
    (
        path("public1", "192.0.2.8/24", "192.0.2.9"),
        "/redundancy/paths/public1/address",
        "whose addresses move",
    ),
    (
        path("public1", "169.254.5.2/24", "169.254.5.3"),
        "/redundancy/paths/public1",
        "169.254.5.2 is on path public0, too",
    ),
    (path("public1", "fd00:7::1/64", "fd00:7::2"), "/redundancy/paths", "some paths have IPv4"),
    (redundancy(path_network="169.254.128.0/22"), "/redundancy/path_network", "a /21 at least"),
    (redundancy(path_network="169.254.0.0/20"), "/redundancy/path_network", "of path sync0"),
    (redundancy(path_network="10.2.0.0/20"), "/redundancy/path_network", "of interface guest2"),
    (redundancy(path_network="169.254.248.0/21"), "/redundancy/path_network", "VRRP's own"),
    (
        {"interfaces": {"sync0": {"addresses": ["169.254.9.1/30"]}}},
        "/interfaces/sync0/addresses/0",
        "in the redundancy section",
    ),
]
