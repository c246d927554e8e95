"""Source NAT and static NAT as elements of maps."""

from router import nat
from tests.examples import document


def test_maps() -> None:
    assert nat.elements(document("everything")) == {
        "source_nat": {
            "10.1.1.0/24": "203.0.113.5",
            "10.1.16.0/20": "203.0.113.7",
            "10.2.1.0/24": "192.0.2.5",
        },
        # The one that has none.
        "routed4": {"10.2.2.0/24": None},
        "static_nat": {"203.0.113.6": "10.1.1.11", "192.0.2.6": "10.2.2.10"},
        "static_nat_out": {"10.1.1.11": "203.0.113.6", "10.2.2.10": "192.0.2.6"},
    }
    assert not any(nat.elements(document("minimal")).values())
