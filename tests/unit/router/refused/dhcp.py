from typing import Any

from tests.unit.router.refused import Case

WEB = "02:00:0a:01:01:0a"
DATABASE = "02:00:0a:01:01:0b"


def reservation(mac: str, **fields: Any) -> dict[str, Any]:
    return guest0("dhcp", {"reservations": {mac: fields}})


def guest0(section: str, values: Any) -> dict[str, Any]:
    return {section: {"guest0": values}}


def options(**fields: Any) -> dict[str, Any]:
    return guest0("dhcp", {"options": fields})


def ranges(*ends: tuple[str, str]) -> dict[str, Any]:
    return guest0("dhcp", {"ranges": [{"first": first, "last": last} for first, last in ends]})


CASES: list[Case] = [
    (ranges(("10.1.2.1", "10.1.2.9")), "/dhcp/guest0/ranges/0", "not within 10.1.1.0/24"),
    (ranges(("10.1.1.9", "10.1.1.5")), "/dhcp/guest0/ranges/0", "ends before it starts"),
    (
        ranges(("10.1.1.5", "10.1.1.9"), ("10.1.1.9", "10.1.1.20")),
        "/dhcp/guest0/ranges/1",
        "overlaps another",
    ),
    (options(extra={"6": "10.1.1.1"}), "/dhcp/guest0/options/extra/6", "field of its own"),
    (options(extra={"53": "5"}), "/dhcp/guest0/options/extra/53", "the protocol's own"),
    (options(router="10.1.2.1"), "/dhcp/guest0/options/router", "10.1.2.1 is not within 10.1.1.0/24"),
    (
        options(routes=[{"destination": "10.8.0.0/16", "gateway": "10.9.0.1"}]),
        "/dhcp/guest0/options/routes/0/gateway",
        "10.9.0.1 is not within",
    ),
    (
        reservation(WEB, options={"router": "10.9.9.9"}),
        f"/dhcp/guest0/reservations/{WEB}/options/router",
        "not within",
    ),
    *(
        (
            reservation(DATABASE, address=address),
            f"/dhcp/guest0/reservations/{DATABASE}/address",
            "no address for a guest",
        )
        for address in ("10.1.1.0", "10.1.1.255", "10.1.1.1", "10.1.2.5")
    ),
    (
        reservation(DATABASE, address="10.1.1.10"),
        f"/dhcp/guest0/reservations/{DATABASE}/address",
        f"reserved for {WEB}",
    ),
    (
        reservation(DATABASE, hostname="web"),
        f"/dhcp/guest0/reservations/{DATABASE}/hostname",
        f"{WEB} is named web, too",
    ),
    (
        {"dhcp": {"guest1": {"reservations": {WEB: {"address": "10.1.17.20"}}}}},
        f"/dhcp/guest1/reservations/{WEB}",
        "a reservation of guest0, too",
    ),
    (
        reservation("02:00:cb:00:71:05", address="10.1.1.20"),
        "/dhcp/guest0/reservations/02:00:cb:00:71:05",
        "the MAC of interface public0",
    ),
]
