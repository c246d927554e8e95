"""Whether there is a log of packets."""

from appliance.resources import Unit
from router import packet_log
from tests.examples import document, example, read


def test_only_where_a_rule_logs() -> None:
    assert not list(packet_log.resources(document("two-networks")))
    units = [item.name for item in packet_log.resources(document("everything")) if isinstance(item, Unit)]
    assert units == ["sysvm-ulogd.service"]


def test_where_a_rule_of_the_firewalls_does() -> None:
    value = example("two-networks")
    value["firewall"]["egress"]["guest0"]["rules"] = {
        "mail": {"verdict": "drop", "protocol": "tcp", "ports": 25, "log": True}
    }
    assert any(isinstance(item, Unit) for item in packet_log.resources(read(value)))
