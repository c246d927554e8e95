from tests.unit.router.refused import Case

CASES: list[Case] = [
    (
        {"limits": {"guests": {"02:00:00:00:00:77": {"connections": 1}}}},
        "/limits/guests/02:00:00:00:00:77",
        "neither a reservation nor metadata",
    ),
    (
        {"limits": {"guests": {"10.1.99.1": {"connections": 1}}}},
        "/limits/guests/10.1.99.1",
        "on no guest network",
    ),
    (
        {"limits": {"guests": {"10.1.1.10": {"connections": 1}}}},
        "/limits/guests/10.1.1.10",
        "10.1.1.10 has that of 02:00:0a:01:01:0a, too",
    ),
    (
        {"limits": {"networks": {"guest7": {"connections": 1}}}},
        "/limits/networks/guest7",
        "no guest interface",
    ),
    (
        {"limits": {"addresses": {"198.51.100.1": {"connections": 1}}}},
        "/limits/addresses/198.51.100.1",
        "no address of a public interface",
    ),
]
