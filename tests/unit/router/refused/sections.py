from tests.unit.router.refused import Case

SECTIONS = {
    "dhcp": {},
    "dns": {"domain": "x.example"},
    "source_nat": {"address": "203.0.113.5"},
    "metadata": {},
}
CASES: list[Case] = [
    *(
        ({section: {"guest7": value}}, f"/{section}/guest7", "guest7 is no guest interface")
        for section, value in SECTIONS.items()
    ),
    (
        {"firewall": {"egress": {"public0": {}}}},
        "/firewall/egress/public0",
        "public0 is no guest interface",
    ),
]
