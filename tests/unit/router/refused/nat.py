from tests.unit.router.refused import Case

CASES: list[Case] = [
    (
        {"source_nat": {"guest0": {"address": "192.0.2.1"}}},
        "/source_nat/guest0/address",
        "no address of a public",
    ),
    (
        {"static_nat": {"192.0.2.1": {"target": "10.1.1.20"}}},
        "/static_nat/192.0.2.1",
        "no address of a public",
    ),
    (
        {"source_nat": {"guest0": {"address": "203.0.113.6"}}},
        "/static_nat/203.0.113.6",
        "used for source NAT, too",
    ),
    (
        {"static_nat": {"203.0.113.6": {"target": "10.3.0.1"}}},
        "/static_nat/203.0.113.6/target",
        "on no guest network",
    ),
    (
        {
            "static_nat": {"203.0.113.8": {"target": "10.1.1.11"}},
            "interfaces": {"public2": {"mac": "02:00:00:00:00:09", "addresses": ["203.0.113.8/32"]}},
        },
        "/static_nat/203.0.113.8/target",
        "10.1.1.11 has 203.0.113.6 already",
    ),
]
