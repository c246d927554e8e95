from typing import Any

from tests.unit.router.refused import Case


def guest0(section: str, values: Any) -> dict[str, Any]:
    return {section: {"guest0": values}}


CASES: list[Case] = [
    (guest0("dns", {"networks": ["guest0"]}), "/dns/guest0/networks/0", "no other network"),
    (guest0("dns", {"networks": ["guest7"]}), "/dns/guest0/networks/0", "no other network"),
    (
        {"dns": {"guest1": {"domain": "cs1.example"}}},
        "/dns/guest0/networks/0",
        "the same domain cs1.example",
    ),
    (
        guest0("dns", {"upstreams": [{"address": "10.1.16.1"}]}),
        "/dns/guest0/upstreams/0/address",
        "this router itself",
    ),
    (
        guest0("dns", {"aliases": {"printer": "web"}}),
        "/dns/guest0/aliases/printer",
        "has other records, too",
    ),
]
