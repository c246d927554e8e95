from typing import Any

from tests.unit.router.refused import Case

WEB = "02:00:0a:01:01:0a"


def guest0(section: str, values: Any) -> dict[str, Any]:
    return {section: {"guest0": values}}


CASES: list[Case] = [
    (
        guest0("metadata", {"guests": {"02:00:00:00:00:77": {"instance_id": "i"}}}),
        "/metadata/guest0/guests/02:00:00:00:00:77",
        "neither an address of its own nor a reservation",
    ),
    (
        guest0("metadata", {"guests": {WEB: {"address": "10.1.2.9"}}}),
        f"/metadata/guest0/guests/{WEB}/address",
        "10.1.2.9 is no address for a guest of guest0",
    ),
    (
        guest0("metadata", {"guests": {"02:00:0a:01:01:63": {"address": "10.1.1.10"}}}),
        "/metadata/guest0/guests/02:00:0a:01:01:63/address",
        f"10.1.1.10 is {WEB}'s, too",
    ),
]
