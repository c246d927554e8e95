from tests.unit.router.refused import Case

CASES: list[Case] = [
    (
        {"interfaces": {"eth0": {"mac": "02:00:00:00:00:09"}}},
        "/interfaces/eth0",
        "guest, public, private and sync",
    ),
    ({"interfaces": {"control0": {"mac": "02:00:00:00:00:09"}}}, "/interfaces/control0", "boot data"),
    (
        {"interfaces": {"public2": {"mac": "02:00:0a:01:01:01"}}},
        "/interfaces/public2/mac",
        "the MAC of guest0, too",
    ),
    (
        {"interfaces": {"public2": {"mac": "02:00:00:00:00:09", "addresses": ["203.0.113.5/32"]}}},
        "/interfaces/public2/addresses/0",
        "203.0.113.5 is an address of public0, too",
    ),
    (
        {"interfaces": {"guest3": {"addresses": ["10.2.2.1/24", "10.1.1.128/25"]}}},
        "/interfaces/guest3/addresses/1",
        "10.1.1.128/25 overlaps 10.1.1.0/24 of guest0",
    ),
    (
        {"interfaces": {"public0": {"gateway": "198.51.100.1"}}},
        "/interfaces/public0/gateway",
        "on none of its networks",
    ),
    (
        {"interfaces": {"guest0": {"gateway": "10.1.1.2"}}},
        "/interfaces/guest0/gateway",
        "public0 has a default gateway already",
    ),
    (
        {"interfaces": {"public0": {"gateway6": "2001:db8::5"}}},
        "/interfaces/public0/gateway6",
        "is its own address",
    ),
    (
        {"interfaces": {"public1": {"gateway6": "192.0.2.1"}}},
        "/interfaces/public1/gateway6",
        "is no IPv6 address",
    ),
    (
        {"interfaces": {"public0": {"gateway": "2001:db8::2"}}},
        "/interfaces/public0/gateway6",
        "is IPv6's default gateway already",
    ),
    (
        {"interfaces": {"guest2": {"mac": "02:00:00:00:00:09", "addresses": ["10.4.0.1/31"]}}},
        "/interfaces/guest2/addresses/0",
        "between 8 and 30",
    ),
    (
        {
            "interfaces": {
                "guest2": {"mac": "02:00:00:00:00:09", "addresses": ["fd00:4::1/64", "10.1.1.129/25"]}
            }
        },
        "/interfaces/guest2/addresses/1",
        "10.1.1.128/25 overlaps 10.1.1.0/24 of guest0",
    ),
]
