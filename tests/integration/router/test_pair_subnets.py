"""Several subnets on one guest link of a pair."""

from typing import Any

import dhcp_clients
import pair_lab
from pair_lab import PairLab, leases
from router_lab import until

RESERVED, FREE = "02:00:0a:01:09:21", "02:00:0a:01:09:22"
GATEWAY = "10.1.9.1"


def test_a_pair_has_both_subnets_and_their_leases(shared_pair: PairLab, pair: PairLab) -> None:
    def both(name: str) -> dict[str, Any]:
        value = pair_lab.document(name)
        value["interfaces"]["guest0"]["addresses"].append(f"{GATEWAY}/24")
        value["dhcp"]["guest0"]["ranges"] = [{"first": "10.1.9.100", "last": "10.1.9.119"}]
        value["dhcp"]["guest0"]["reservations"][RESERVED] = {"address": "10.1.9.33", "hostname": "second"}
        return value

    for name, mac in (("sub-reserved", RESERVED), ("sub-free", FREE)):
        shared_pair.routers["r1"].client(name, "guest0", mac)
    changes = pair.changes()
    pair.put(both)
    primary = pair.settled()
    assert pair.have(GATEWAY) == [primary]
    reserved, free = (dhcp_clients.ask("udhcpc", pair[name]) for name in ("sub-reserved", "sub-free"))
    assert reserved and reserved["address"] == "10.1.9.33" and reserved["router"] == GATEWAY
    assert free and free["router"] == GATEWAY
    wanted = {RESERVED: "10.1.9.33", FREE: free["address"]}
    until(lambda: wanted.items() <= leases(pair, pair_lab.other(primary)).items(), seconds=20,
          what="the backup knows them")  # fmt: skip
    pair.make_primary(pair_lab.other(primary))
    again = dhcp_clients.ask("udhcpc", pair["sub-free"])
    assert again and again["address"] == free["address"]
    pair["sub-reserved"].move("10.1.9.33/24", gateway=GATEWAY)
    until(lambda: pair["sub-reserved"].ping(GATEWAY), what="the gateway")
    assert pair["sub-reserved"].dig("vm1.a.example", server=GATEWAY) == ["10.1.1.10"]
    assert all(router.drift() == [] for router in pair.routers.values())
    pair.put()
    assert sum(pair.changes().values()) - sum(changes.values()) == 2, "but for the switch-over nothing moved"
