from tests.unit.router.refused import Case

CASES: list[Case] = [
    (
        {"certificates": {"www": {"key": "AAAA"}}},
        "/certificates/www/key",
        "Certificate www: its key is no private key",
    ),
]
