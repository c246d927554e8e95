"""Source NAT and static NAT as elements of maps."""

from router import nat
from tests.examples import document


def test_maps() -> None:
    assert nat.elements(document("everything")) == {
        "source_nat": {"10.1.1.0/24": "203.0.113.5", "10.1.16.0/20": "203.0.113.7"},
        "static_nat": {"203.0.113.6": "10.1.1.11"},
        "static_nat_out": {"10.1.1.11": "203.0.113.6"},
    }
    assert not any(nat.elements(document("minimal")).values())
